"""Bundled plugins that act when the sender is named."""
