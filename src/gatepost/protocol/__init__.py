"""SMTP and LMTP as bytes and events, for both sides; no sockets, no clock, no plugins."""
