"""The pytest plugin: runs `*.smtp` files and the dialogues in docstrings of plugins."""
