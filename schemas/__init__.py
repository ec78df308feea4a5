"""The Avro schemas, shipped as `tradepipe.schemas`."""
