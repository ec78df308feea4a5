"""Trades out of files: their fields, records and rejects."""
