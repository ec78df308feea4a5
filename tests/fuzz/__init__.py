"""Fuzzing with millions of hostile inputs: `python -m tests.fuzz`."""
