"""Tests of the kit for other services."""
