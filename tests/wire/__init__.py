"""Tests of trades as bytes, and of the registry."""
