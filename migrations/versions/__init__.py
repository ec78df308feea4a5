"""The revisions, shipped as `tradepipe.migrations.versions`."""
