"""Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once."""
