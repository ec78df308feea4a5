"""The trade: its declaration, its rules, its records."""
