"""Libcrypt: the system's crypt(3), which has not been in Python since 3.13."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Final

#: Where the library may be found; None: among what the process has anyway.
NAMES: Final = ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so", None)
#: Octets that crypt_r works in: glibc's wants 131 232 of them, libxcrypt's 32 768.
_WORKSPACE: Final = 256 * 1024
#: The cheapest setting of each method that is asked for, to see whether the library knows it.
PROBES: Final = {
    "$1$": "$1$probe",
    "$5$": "$5$rounds=1000$probe",
    "$6$": "$6$rounds=1000$probe",
    "$y$": "$y$j75T$abcd",
}


def crypt(password: bytes, setting: str) -> str:
    """The hash of a password; `setting` says how, and may be another hash.

    Empty when the library does not know the method.  Blocks, and other threads go on meanwhile.
    Raises ValueError where there is no libcrypt.
    """
    hashed = crypt_r()(password, setting.encode(), ctypes.create_string_buffer(_WORKSPACE))
    # What begins with an asterisk is no hash, but says that there is none.
    return "" if hashed is None or hashed.startswith(b"*") else hashed.decode("ascii", "replace")


@cache
def check_method(prefix: str) -> None:
    """Raise ValueError when the library does not know the method of a prefix, `$6$`."""
    if not crypt(b"probe", PROBES[prefix]).startswith(prefix):
        raise ValueError(f"the system's libcrypt does not know {prefix}")


@cache
def crypt_r() -> Callable[[bytes, bytes, Any], bytes | None]:
    """The function itself, which several threads may call at a time."""
    for name in NAMES:
        with suppress(OSError, AttributeError):
            function = ctypes.CDLL(name).crypt_r
            function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
            function.restype = ctypes.c_char_p
            return function
    raise ValueError("needs the library libcrypt, which is not on this system")
