"""Tests; the tree mirrors src/tradepipe."""
