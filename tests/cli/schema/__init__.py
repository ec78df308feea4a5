"""What the schema commands find, and in which forms they say it."""
