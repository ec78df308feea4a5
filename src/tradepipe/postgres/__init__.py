"""PostgreSQL: the tables, one batch as one transaction, offsets, revisions."""
