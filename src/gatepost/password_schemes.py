"""The schemes in which passwords are kept: how each is spelled, checked and made, one row each."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Final, NamedTuple

from gatepost.credentials import Digest, PlainSecret, ScramKeys, Secret
from gatepost.libcrypt import check_method, crypt
from gatepost.saslprep import saslprep

#: Octets of memory that a check may take: a mistyped parameter must not take the machine.
MEMORY_LIMIT: Final = 1024**3
#: Octets of a password that bcrypt knows of.
BCRYPT_LIMIT: Final = 72

#: For new hashes; KiB, passes and lanes are the first choice of OWASP's Password Storage Cheat
#: Sheet.  The 64 MiB of RFC 9106, 4 are much where several threads check passwords at a time.
ARGON2: Final = {"memory_cost": 19_456, "time_cost": 2, "parallelism": 1}
#: log2 N, r and p, for 32 MiB, from the same place.
SCRYPT: Final = (15, 8, 3)
BCRYPT_ROUNDS: Final = 11  # log2
#: What crypt(3) takes when it is told nothing, 5000, was much in 2007.
SHA512_ROUNDS: Final = 200_000

_SALT: Final = 16  # octets
_SCRAM: Final = {"sha1": "SCRAM-SHA-1", "sha256": "SCRAM-SHA-256"}
_CRYPT_LETTERS: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: A secret that a file can hold as it is: a colon or a blank might end it there.
_HARMLESS: Final = re.compile(rb"[!-9;-~]+")


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)  # not before it is needed, for it is optional
    except ImportError:
        raise ValueError(f"it needs the package {name}: pip install 'gatepost[auth]'") from None


def _octets(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()


def _check_memory(octets: int) -> None:
    if octets > MEMORY_LIMIT:
        raise ValueError(f"it takes more than {MEMORY_LIMIT >> 20} MiB to check")


# -- Argon2 and bcrypt, of packages ----------------------------------------------------------------


def _check_argon2(match: re.Match[str]) -> None:
    _package("argon2")
    _check_memory(int(match["memory"]) << 10)


def _verify_argon2(match: re.Match[str], password: bytes) -> bool:
    argon2 = _package("argon2")
    try:
        argon2.PasswordHasher().verify(match["text"], password)
    except argon2.exceptions.VerifyMismatchError:
        return False
    return True


def _make_argon2(password: bytes) -> str:
    return str(_package("argon2").PasswordHasher(**ARGON2).hash(password))


def _check_bcrypt(_: re.Match[str]) -> None:
    _package("bcrypt")


def _verify_bcrypt(match: re.Match[str], password: bytes) -> bool:
    # Whoever made the hash of a longer one has cut it, too.
    return bool(_package("bcrypt").checkpw(password[:BCRYPT_LIMIT], match["text"].encode()))


def _make_bcrypt(password: bytes) -> str:
    bcrypt = _package("bcrypt")
    if len(password) > BCRYPT_LIMIT:
        raise ValueError(f"it is longer than {BCRYPT_LIMIT} octets, and bcrypt knows of no more")
    return str(bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_ROUNDS)).decode())


# -- scrypt (RFC 7914), of Python's hashlib --------------------------------------------------------


def _check_scrypt(match: re.Match[str]) -> None:
    cost, size, lanes = _scrypt_effort(match)
    if not (0 < cost < 32 and size and lanes):
        raise ValueError("scrypt cannot have these parameters")
    _check_memory(_scrypt_memory(cost, size, lanes))
    for part in ("salt", "key"):
        _octets(match[part])


def _verify_scrypt(match: re.Match[str], password: bytes) -> bool:
    key = _octets(match["key"])
    shown = _scrypt(password, _octets(match["salt"]), _scrypt_effort(match), length=len(key))
    return hmac.compare_digest(shown, key)


def _make_scrypt(password: bytes) -> str:
    cost, size, lanes = SCRYPT
    salt = secrets.token_bytes(_SALT)
    key = _scrypt(password, salt, SCRYPT, length=32)
    parts = (part.rstrip("=") for part in (_base64(salt), _base64(key)))
    return "$".join(("", "scrypt", f"ln={cost},r={size},p={lanes}", *parts))


def _scrypt(password: bytes, salt: bytes, effort: tuple[int, int, int], *, length: int) -> bytes:
    cost, size, lanes = effort
    memory = _scrypt_memory(cost, size, lanes)
    return hashlib.scrypt(
        password, salt=salt, n=1 << cost, r=size, p=lanes, maxmem=memory, dklen=length
    )


def _scrypt_effort(match: re.Match[str]) -> tuple[int, int, int]:
    return int(match["cost"]), int(match["size"]), int(match["lanes"])


def _scrypt_memory(cost: int, size: int, lanes: int) -> int:
    return 128 * size * ((1 << cost) + lanes + 2)


# -- crypt(3), of the system -----------------------------------------------------------------------


def _check_crypt(match: re.Match[str]) -> None:
    check_method(match["prefix"])


def _verify_crypt(match: re.Match[str], password: bytes) -> bool:
    shown = crypt(password, match["text"])
    return hmac.compare_digest(shown.encode(), match["text"].encode())


def _make_sha512_crypt(password: bytes) -> str:
    salt = "".join(secrets.choice(_CRYPT_LETTERS) for _ in range(_SALT))
    hashed = crypt(password, f"$6$rounds={SHA512_ROUNDS}${salt}")
    if not hashed:
        raise ValueError("crypt(3) does not take it; it may be too long")
    return hashed


# -- SCRAM keys (RFC 5802) and plain secrets -------------------------------------------------------


def _check_scram(match: re.Match[str]) -> None:
    keys = _scram_keys(match)
    size = hashlib.new(keys.digest).digest_size
    if len(keys.stored_key) != size or len(keys.server_key) != size:
        raise ValueError("SCRAM cannot have these keys")


def _scram_keys(match: re.Match[str]) -> ScramKeys:
    parts = {name: _octets(match[name]) for name in ("salt", "stored_key", "server_key")}
    digest: Digest = "sha1" if match["digest"] == "1" else "sha256"
    return ScramKeys(digest, iterations=int(match["effort"]), **parts)


def _verify_scram(match: re.Match[str], password: bytes) -> bool:
    keys = _scram_keys(match)
    try:
        shown = ScramKeys.derive(
            password.decode(), digest=keys.digest, salt=keys.salt, iterations=keys.iterations
        )
    except ValueError:  # SASLprep prohibits it
        return False
    return hmac.compare_digest(shown.stored_key, keys.stored_key)


def _make_scram(digest: Digest, password: bytes) -> str:
    keys = ScramKeys.derive(password.decode(), digest=digest)
    salt, stored_key, server_key = map(_base64, (keys.salt, keys.stored_key, keys.server_key))
    return f"{_SCRAM[digest]}${keys.iterations}:{salt}${stored_key}:{server_key}"


def _check_plain(match: re.Match[str]) -> None:
    if not _plain_secret(match).password:
        raise ValueError("the secret is empty")


def _plain_secret(match: re.Match[str]) -> PlainSecret:
    if match["encoding"] is None:
        return PlainSecret(saslprep(match["text"]))
    try:
        return PlainSecret(saslprep(_octets(match["text"]).decode()))
    except UnicodeDecodeError:
        raise ValueError("the secret is not UTF-8") from None


def _verify_plain(match: re.Match[str], password: bytes) -> bool:
    return hmac.compare_digest(_plain_secret(match).password.encode(), password)


def _make_plain(password: bytes) -> str:
    if _HARMLESS.fullmatch(password):
        return f"{{PLAIN}}{password.decode()}"
    return f"{{PLAIN.b64}}{_base64(password)}"


# -- The table -------------------------------------------------------------------------------------


class Scheme(NamedTuple):
    """How passwords are kept in one manner."""

    pattern: re.Pattern[str]  #: of the whole; `effort` is what the time of a check depends on
    check: Callable[[re.Match[str]], None]  #: raises ValueError for what can never be checked
    verify: Callable[[re.Match[str], bytes], bool]
    make: Callable[[bytes], str] | None = None  #: None: not for new passwords
    secret: Callable[[re.Match[str]], Secret] | None = None  #: None: it only keeps a hash


def _spelled(labels: str, *parts: str) -> re.Pattern[str]:
    """A spelling, and the labels that Dovecot may have put before it."""
    return re.compile(rf"(?:\{{(?i:{labels})\}})?(?P<text>{''.join(parts)})")


def _scram(digest: str) -> re.Pattern[str]:
    """Keys as PostgreSQL spells them, or, with braces and commas, Dovecot."""
    salt, stored_key, server_key = (
        rf"(?P<{name}>[A-Za-z0-9+/]+={{0,2}})" for name in ("salt", "stored_key", "server_key")
    )
    return re.compile(
        rf"(?P<brace>\{{)?(?i:SCRAM-SHA-(?P<digest>{digest}))(?(brace)\}}|\$)"
        rf"(?P<effort>\d{{1,9}})[:,]{salt}[$,]{stored_key}[:,]{server_key}"
    )


_ARGON2 = (
    r"\$v=19\$(?P<effort>m=(?P<memory>\d{1,9}),t=\d{1,9},p=\d{1,9})",
    r"\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+",
)
_SCRYPT = (
    r"\$scrypt\$(?P<effort>ln=(?P<cost>\d{1,2}),r=(?P<size>\d{1,6}),p=(?P<lanes>\d{1,6}))",
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<key>[A-Za-z0-9+/]+)",
)
_BCRYPT = r"\$2[aby]\$(?P<effort>0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}"
_SHA_CRYPT = r"(?:(?P<effort>rounds=\d{1,9})\$)?[^$:]{0,16}\$"
_MD5_CRYPT = r"(?P<prefix>\$1\$)(?P<effort>)[^$:]{0,8}\$[./A-Za-z0-9]{22}"
_YESCRYPT = r"(?P<prefix>\$y\$)(?P<effort>[./A-Za-z0-9]+)\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}"
_PLAIN = (
    r"\{(?i:PLAIN|CLEAR|CLEARTEXT)(?P<encoding>\.(?i:b64|base64))?\}(?P<effort>)(?P<text>(?s:.*))"
)

#: By their names; a spelling fits one of them at most.
SCHEMES: Final = {
    "argon2id": Scheme(
        _spelled("ARGON2ID", r"\$argon2id", *_ARGON2), _check_argon2, _verify_argon2, _make_argon2
    ),
    "argon2i": Scheme(_spelled("ARGON2I", r"\$argon2i", *_ARGON2), _check_argon2, _verify_argon2),
    "scrypt": Scheme(_spelled("SCRYPT", *_SCRYPT), _check_scrypt, _verify_scrypt, _make_scrypt),
    "bcrypt": Scheme(
        _spelled("BLF-CRYPT|CRYPT", _BCRYPT), _check_bcrypt, _verify_bcrypt, _make_bcrypt
    ),
    "sha512-crypt": Scheme(
        _spelled("SHA512-CRYPT|CRYPT", r"(?P<prefix>\$6\$)", _SHA_CRYPT, r"[./A-Za-z0-9]{86}"),
        _check_crypt,
        _verify_crypt,
        _make_sha512_crypt,
    ),
    "sha256-crypt": Scheme(
        _spelled("SHA256-CRYPT|CRYPT", r"(?P<prefix>\$5\$)", _SHA_CRYPT, r"[./A-Za-z0-9]{43}"),
        _check_crypt,
        _verify_crypt,
    ),
    "md5-crypt": Scheme(_spelled("MD5-CRYPT|CRYPT", _MD5_CRYPT), _check_crypt, _verify_crypt),
    "yescrypt": Scheme(_spelled("CRYPT", _YESCRYPT), _check_crypt, _verify_crypt),
    "scram-sha-256": Scheme(
        _scram("256"), _check_scram, _verify_scram, partial(_make_scram, "sha256"), _scram_keys
    ),
    "scram-sha-1": Scheme(
        _scram("1"), _check_scram, _verify_scram, partial(_make_scram, "sha1"), _scram_keys
    ),
    "plain": Scheme(re.compile(_PLAIN), _check_plain, _verify_plain, _make_plain, _plain_secret),
}
