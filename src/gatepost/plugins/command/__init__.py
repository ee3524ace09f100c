"""Bundled plugins that act when a client says one of the commands that are about no message."""
