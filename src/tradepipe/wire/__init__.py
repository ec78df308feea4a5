"""Trade to bytes and back, and the registry that names the schemas."""
