"""How fast the server is, beside its rivals."""
