"""How plugins are found, asked and answered."""
