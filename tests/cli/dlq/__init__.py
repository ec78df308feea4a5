"""Refused records, as whoever misses them finds them."""
