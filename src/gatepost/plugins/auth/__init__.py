"""Bundled plugins that act when a client shows who it is."""
