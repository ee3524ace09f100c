"""The log: where events go, and how they are written there, whatever is in them."""
