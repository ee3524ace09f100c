"""SocketFile: the file of a Unix socket that was bound here, and may not be ours any more."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class SocketFile:
    """What is to be removed with a socket that has just been bound.  Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = path.lstat()

    def remove(self) -> None:
        """Remove it, unless somebody has put another in its place."""
        with suppress(OSError):
            if os.path.samestat(self._path.lstat(), self._made):
                self._path.unlink()
