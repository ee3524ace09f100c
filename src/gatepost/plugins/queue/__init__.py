"""Bundled plugins that take responsibility for a message."""
