"""The trade schema's history, and what its next version may be."""
