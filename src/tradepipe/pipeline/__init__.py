"""The stages, in the order a trade meets them."""
