"""Refused records, as an operator finds them."""
