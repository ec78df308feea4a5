"""Tests of tradepipe.kafka."""
