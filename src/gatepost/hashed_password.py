"""HashedPassword: a password as files and databases keep it, in one of several schemes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Final

from gatepost.credentials import Secret
from gatepost.password_schemes import SCHEMES
from gatepost.saslprep import saslprep

#: Octets of a password; a longer one is wrong without a look at it.
PASSWORD_LIMIT: Final = 1024
#: The schemes in which a new password can be kept.
FOR_NEW: Final = tuple(name for name, scheme in SCHEMES.items() if scheme.make)


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """A password as it is kept: a hash, SCRAM keys, or the password itself.

    | scheme | how it is spelled |
    |---|---|
    | `argon2id`, `argon2i` | `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH` |
    | `scrypt` | `$scrypt$ln=15,r=8,p=3$SALT$HASH`, as passlib writes it |
    | `bcrypt` | `$2b$11$...`, also `$2a$` and `$2y$` |
    | `sha512-crypt`, `sha256-crypt`, `md5-crypt`, `yescrypt` | `$6$...`, `$5$`, `$1$`, `$y$` |
    | `scram-sha-256`, `scram-sha-1` | `SCRAM-SHA-256$15000:SALT$STOREDKEY:SERVERKEY` |
    | `plain` | `{PLAIN}secret`, or `{PLAIN.b64}` and the secret in base64 |

    Before it may stand what Dovecot puts there: `{ARGON2ID}`, `{BLF-CRYPT}`, `{SHA512-CRYPT}`,
    `{CRYPT}` and so on; its `{SCRAM-SHA-256}4096,SALT,STOREDKEY,SERVERKEY` is known too, and
    `{CLEARTEXT}` and `{CLEAR}` for `{PLAIN}`.
    """

    scheme: str
    effort: str  #: two of one scheme and effort take the same time to check
    secret: Secret | None = field(repr=False)  #: for proofs: SCRAM, CRAM-MD5; None of a hash
    _match: re.Match[str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> HashedPassword:
        """Read one.  Raises ValueError, whose text repeats nothing of it.

        That a library is missing which the scheme needs is such an error, too.
        """
        for name, scheme in SCHEMES.items():
            if match := scheme.pattern.fullmatch(text):
                scheme.check(match)
                secret = None if scheme.secret is None else scheme.secret(match)
                return cls(name, match["effort"] or "", secret, match)
        raise ValueError("it is no hash that is known here")

    def verify(self, password: str) -> bool:
        """Whether this is the password, which is in the form of SASLprep.

        Takes its time, and other threads go on meanwhile: ask in a thread, such as a `Pool`'s.
        """
        octets = password.encode()
        if not octets or len(octets) > PASSWORD_LIMIT or b"\0" in octets:
            return False
        return SCHEMES[self.scheme].verify(self._match, octets)

    @staticmethod
    def make(password: str, scheme: str = "") -> str:
        """What to keep of a new password; without a scheme, the best that is to be had.

        Blocks as `verify` does.  Raises ValueError for a password that is empty, too long or
        prohibited by SASLprep, and for a scheme that is not known, or not to be had.
        """
        scheme = scheme or ("scrypt" if find_spec("argon2") is None else "argon2id")
        make = SCHEMES[scheme].make if scheme in SCHEMES else None
        if make is None:
            raise ValueError(f"{scheme!r} is no scheme for new passwords: {', '.join(FOR_NEW)}")
        octets = saslprep(password).encode()
        if not octets:
            raise ValueError("it is empty")
        if len(octets) > PASSWORD_LIMIT:
            raise ValueError(f"it is longer than {PASSWORD_LIMIT} octets")
        return make(octets)
