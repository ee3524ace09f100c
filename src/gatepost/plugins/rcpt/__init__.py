"""Bundled plugins that act when a recipient is named."""
