"""A record of each version as its producers wrote it, shipped as `tradepipe.schemas.trade.golden`."""
