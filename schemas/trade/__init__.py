"""The frozen versions of the trade schema, shipped as `tradepipe.schemas.trade`."""
