"""Tests of what a trade is."""
