"""Network: organisations, needs, referrals that do not get lost."""
