"""Trades to Avro bytes and back, and Avro bytes to COPY rows."""
