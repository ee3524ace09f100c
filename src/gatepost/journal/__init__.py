"""The journal: what happens, one readable line each, and the same facts as fields, for programs."""
