"""Activities: sessions, sign-ups, waiting lists, registers."""
