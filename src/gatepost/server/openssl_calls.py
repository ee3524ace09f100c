"""What OpenSSL knows of a connection and Python's `ssl` does not tell: asked of OpenSSL itself.

The library is the one that `_ssl` is linked with, and the connection's `SSL *` is read from the
object of `_ssl` that holds it.  CPython's headers do not promise where it stands in there, so its
neighbour is looked at first: where that is not the connection's context, nothing is asked.
"""

from __future__ import annotations

import _ssl
import ctypes
import platform
import ssl
import sysconfig

#: `struct PySSLSocket` of CPython's Modules/_ssl.c: behind the head come a weak reference, the
#: `SSL *` and the context.
_HEAD = object.__basicsize__
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_SSL_AT = _HEAD + _POINTER
_CONTEXT_AT = _HEAD + 2 * _POINTER


def _opened_library() -> ctypes.CDLL | None:
    """The library, if this Python is one whose objects we know."""
    file = getattr(_ssl, "__file__", None)  # without: `_ssl` is part of the interpreter
    known = platform.python_implementation() == "CPython"
    if not known or file is None or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    try:
        library = ctypes.CDLL(file)
        library.SSL_export_keying_material.restype = ctypes.c_int
        library.SSL_export_keying_material.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p, ctypes.c_size_t,
            ctypes.c_char_p, ctypes.c_size_t,
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int,
        ]  # fmt: skip
        library.SSL_get_certificate.restype = ctypes.c_void_p
        library.SSL_get_certificate.argtypes = [ctypes.c_void_p]
        library.i2d_X509.restype = ctypes.c_int
        library.i2d_X509.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p)]
    except (AttributeError, OSError):
        return None  # OpenSSL is part of `_ssl`, and its names are not to be seen
    return library


_library = _opened_library()


def exported_key(connection: ssl.SSLObject, label: bytes, length: int) -> bytes | None:
    """Keying material for `label` with an empty context (RFC 8446, 7.5); None: it cannot be had."""
    pointer = _pointer(connection)
    if _library is None or pointer is None:
        return None
    key = ctypes.create_string_buffer(length)
    done = _library.SSL_export_keying_material(
        pointer, key, length, label, len(label), b"", 0, 1
    )  # fmt: skip
    return key.raw if done == 1 else None


def own_certificate(connection: ssl.SSLObject) -> bytes | None:
    """The certificate, in DER, that this side showed; None: it cannot be had."""
    pointer = _pointer(connection)
    if _library is None or pointer is None:
        return None
    certificate = _library.SSL_get_certificate(pointer)
    length = _library.i2d_X509(certificate, None) if certificate else 0
    if length <= 0:
        return None
    der = ctypes.create_string_buffer(length)
    # i2d_X509 moves the pointer that it is given to behind what it wrote.
    _library.i2d_X509(certificate, ctypes.byref(ctypes.cast(der, ctypes.c_char_p)))
    return der.raw


def _pointer(connection: ssl.SSLObject) -> int | None:
    """The connection's `SSL *`, if it stands where we look for it."""
    inner = getattr(connection, "_sslobj", None)
    if _library is None or type(inner).__basicsize__ < _CONTEXT_AT + _POINTER:
        return None
    if _read(inner, _CONTEXT_AT) != id(connection.context):
        return None
    return _read(inner, _SSL_AT)


def _read(inner: object, at: int) -> int | None:
    return ctypes.c_void_p.from_address(id(inner) + at).value
