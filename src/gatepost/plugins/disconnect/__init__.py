"""Bundled plugins that act when a client has gone."""
