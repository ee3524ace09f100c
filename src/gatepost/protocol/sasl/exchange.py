"""Exchange: how one authentication goes, step by step, as a generator; no sockets, no clock.

A mechanism yields what it needs next and is sent what came of it:

| it yields | it is sent |
|---|---|
| `Challenge` | the client's response, in octets |
| `SecretOf` | the user's `Secret`, or None for a user whom nobody knows |
| `Derivation` | the keys of a password: milliseconds of work, so somebody else has it done |
| `Credentials` | whether they were accepted |

It returns when all is said, or raises `MalformedResponse` or `WrongProof`.  Credentials need not
be its last step: SCRAM shows the server's own proof to a user who was accepted, OAUTHBEARER and
XOAUTH2 tell why a token was not.  What was decided of them holds when the exchange has returned,
and not before.

A client-first mechanism begins with a challenge that an initial response answers unasked (RFC
4422, 4): an empty one, but for LOGIN.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from gatepost.credentials import Credentials, Digest
from gatepost.tls import Tls


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the server says; base64 is for the wire, and not in here."""

    octets: bytes = b""


@dataclass(frozen=True, slots=True)
class SecretOf:
    """The question for what a user's proof is checked against."""

    user: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """The request for the keys of a password; `ScramKeys.derive` makes them."""

    password: str = field(repr=False)
    digest: Digest
    salt: bytes
    iterations: int


Step: TypeAlias = Challenge | SecretOf | Derivation | Credentials
Exchange: TypeAlias = Generator[Step, Any, None]


class MalformedResponse(Exception):
    """A response that breaks the grammar of its mechanism; the text may be told to the client."""


class WrongProof(Exception):
    """The client does not know the secret, or the user is unknown: nobody may tell which."""

    def __init__(self, user: str) -> None:
        super().__init__("the proof is wrong")
        self.user = user


class Surroundings(NamedTuple):
    """What an exchange may know of the session that it happens in."""

    hostname: str  #: the server's name for itself
    tls: Tls | None
    offered: frozenset[str]  #: the mechanisms that the client could choose from
    nonce: Callable[[], str]  #: printable ASCII without commas, different each time
    #: octets that hide, for an unknown user, that there is none: the same for the same name
    decoy: Callable[[str], bytes]


class Mechanism(NamedTuple):
    """One SASL mechanism: how its exchange begins, and when it may be offered."""

    name: str
    begin: Callable[[Surroundings], Exchange]
    client_first: bool = True  #: whether an initial response is possible
    bare: bool = False  #: whether it carries a password or token that all could read without TLS
    binds: bool = False  #: whether it needs a channel binding, and with it TLS
