"""Bundled plugins that act when a client connects."""
