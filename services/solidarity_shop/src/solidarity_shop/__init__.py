"""Solidarity shop: products of the back room, stock, tills, sales."""
