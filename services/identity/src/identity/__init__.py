"""Identity: who may do what: sign-in, roles, sessions, keys."""
