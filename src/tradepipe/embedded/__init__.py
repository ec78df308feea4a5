"""Services without a server to install: broker, registry, PostgreSQL."""
