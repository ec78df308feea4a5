"""Files of trades, as people keep them."""
