"""Trades in files: CSV, JSON, workbooks and Parquet."""
