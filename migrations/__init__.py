"""The database history, shipped as `tradepipe.migrations`."""
