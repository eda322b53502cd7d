"""A service that keeps things with a price: what a service looks like, as small as can be."""
