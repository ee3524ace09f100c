"""The rooms that wait for clients."""
