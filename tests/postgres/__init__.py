"""Tests of the PostgreSQL room."""
