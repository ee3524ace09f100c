"""What the tests of mechanisms share: surroundings that repeat, and an exchange played through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from gatepost.credentials import ScramKeys
from gatepost.protocol.sasl import MECHANISMS, Derivation, Surroundings

SURROUNDINGS = Surroundings(
    hostname="mx.example",
    tls=None,
    offered=frozenset(),
    nonce=lambda: "servernonce",
    decoy=lambda user: hashlib.sha256(b"seed" + user.encode()).digest(),
)


def derived(wanted: Derivation) -> ScramKeys:
    """The keys of a password, as the driver has them made."""
    password, digest, salt = wanted.password, wanted.digest, wanted.salt
    return ScramKeys.derive(password, digest=digest, salt=salt, iterations=wanted.iterations)


@pytest.fixture
def surroundings() -> Surroundings:
    return SURROUNDINGS


@pytest.fixture
def play() -> Callable[..., list[object]]:
    """Plays an exchange: what it yields at first and to each answer; None: it has ended."""

    def played(
        name: str, *answers: object, surroundings: Surroundings = SURROUNDINGS
    ) -> list[object]:
        exchange = MECHANISMS[name].begin(surroundings)
        steps: list[object] = [next(exchange)]
        for answer in answers:
            try:
                step = exchange.send(answer)
                while isinstance(step, Derivation):
                    step = exchange.send(derived(step))
                steps.append(step)
            except StopIteration:
                steps.append(None)
        return steps

    return played
