-- Run as tradepipe_migrator after each migration: the rights of docs/operating.md.
GRANT SELECT, INSERT ON trades, trade_refusals TO tradepipe_writer;
GRANT SELECT, INSERT, UPDATE ON sink_offsets TO tradepipe_writer;
GRANT SELECT, INSERT ON trades, trade_refusals TO tradepipe_replayer;
GRANT UPDATE (codes, details, schema_id, attempts, replayed_at) ON trade_refusals TO tradepipe_replayer;
GRANT SELECT ON tradepipe_revision TO tradepipe_writer, tradepipe_replayer;
GRANT SELECT ON trades, trade_refusals, sink_offsets, current_trades, tradepipe_revision TO tradepipe_reader;
