-- Run once, when the container `postgres` creates its database: the roles of docs/operating.md, with example passwords.
CREATE ROLE tradepipe_migrator LOGIN PASSWORD 'migrator';
CREATE ROLE tradepipe_writer LOGIN PASSWORD 'writer';
CREATE ROLE tradepipe_replayer LOGIN PASSWORD 'replayer';
CREATE ROLE tradepipe_reader LOGIN PASSWORD 'reader';
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO tradepipe_migrator;
REVOKE TEMPORARY ON DATABASE trades FROM PUBLIC;
GRANT TEMPORARY ON DATABASE trades TO tradepipe_writer, tradepipe_replayer;

-- For commands on this machine: a sink, `tradepipe dlq`, psql. It owns nothing.
CREATE ROLE gorm LOGIN PASSWORD 'gorm' IN ROLE tradepipe_writer, tradepipe_replayer, tradepipe_reader;
