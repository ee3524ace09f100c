"""The archive: what was decided in recent sessions, kept in a file that does not grow for ever."""
