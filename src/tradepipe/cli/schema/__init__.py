"""Insides of `tradepipe schema`."""
