"""The processes of a server: a supervisor, and workers that take the clients in."""
