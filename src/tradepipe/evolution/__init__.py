"""Schema history, and rules of schema evolution."""
