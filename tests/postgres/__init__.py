"""Tests of tradepipe.postgres."""
