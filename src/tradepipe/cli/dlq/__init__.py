"""Commands `tradepipe dlq`."""
