"""Cards: households, cards and the points ledger."""
