"""Commands `tradepipe schema`."""
