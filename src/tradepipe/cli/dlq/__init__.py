"""Insides of `tradepipe dlq`."""
