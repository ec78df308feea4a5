"""An example of a service: fills booked as trades, and the maturities of books read from them."""
