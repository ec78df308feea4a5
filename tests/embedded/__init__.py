"""Tests of the services that ship in the package."""
