"""`python -m tests.mutation`: break the code that carries the guarantees, one change at a time, and see who notices."""
