"""The embedded PostgreSQL."""

import psycopg2


def test_a_database_is_empty_and_in_utc(database):
    """Tests share a server, never tables."""
    connection = psycopg2.connect(database)
    cursor = connection.cursor()

    cursor.execute("SELECT current_setting('timezone'), count(*) FROM pg_tables WHERE schemaname = 'public'")

    assert ("UTC", 0) == cursor.fetchone()
    connection.close()
