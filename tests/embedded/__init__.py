"""Tests of the parts that ship in the package."""
