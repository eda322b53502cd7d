"""The rules of the shop, without I/O: amounts, stock, a sale and its points, refunds, closing."""
