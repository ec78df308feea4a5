"""What a trade is: its fields, rules, refusals and schema history. Pure."""
