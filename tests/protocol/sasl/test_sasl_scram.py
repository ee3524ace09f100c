"""SCRAM: the RFCs' exchanges, another's client, and everything that must fail."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from scramp import ScramClient, ScramException  # type: ignore[import-untyped]  # it has no types

from gatepost.credentials import SCRAM_ITERATIONS, Digest, PlainSecret, Proven, ScramKeys, Secret
from gatepost.protocol.sasl import (
    MECHANISMS,
    Challenge,
    Derivation,
    MalformedResponse,
    SecretOf,
    Surroundings,
    WrongProof,
)
from gatepost.tls import Tls

Play = Callable[..., list[object]]


class Vector(NamedTuple):
    mechanism: str
    digest: Digest
    nonce: str  #: the server's part
    client_first: bytes
    server_first: bytes
    client_final: bytes
    server_final: bytes

    @property
    def keys(self) -> ScramKeys:
        salt = b64decode(self.server_first.partition(b",s=")[2].partition(b",")[0])
        return ScramKeys.derive("pencil", digest=self.digest, salt=salt, iterations=4096)


# RFC 5802, 5.
SHA1 = Vector(
    "SCRAM-SHA-1",
    "sha1",
    "3rfcNHYJY1ZVvWVs7j",
    b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)
# RFC 7677, 3.
SHA256 = Vector(
    "SCRAM-SHA-256",
    "sha256",
    "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)
BOTH = pytest.mark.parametrize("vector", [SHA1, SHA256], ids=["sha1", "sha256"])


@BOTH
def test_the_exchanges_of_the_standards(
    vector: Vector, surroundings: Surroundings, play: Play
) -> None:
    surroundings = surroundings._replace(nonce=lambda: vector.nonce)
    answers = (vector.client_first, vector.keys, vector.client_final, True, b"")
    assert play(vector.mechanism, *answers, surroundings=surroundings) == [
        Challenge(),
        SecretOf("user"),
        Challenge(vector.server_first),
        Proven("user", vector.mechanism),
        Challenge(vector.server_final),
        None,
    ]


@BOTH
def test_who_is_refused_does_not_see_the_servers_proof(
    vector: Vector, surroundings: Surroundings, play: Play
) -> None:
    surroundings = surroundings._replace(nonce=lambda: vector.nonce)
    answers = (vector.client_first, vector.keys, vector.client_final, False)
    steps = play(vector.mechanism, *answers, surroundings=surroundings)
    assert steps[-2:] == [Proven("user", vector.mechanism), None]


def test_the_servers_proof_is_answered_with_nothing(surroundings: Surroundings, play: Play) -> None:
    surroundings = surroundings._replace(nonce=lambda: SHA256.nonce)
    answers = (SHA256.client_first, SHA256.keys, SHA256.client_final, True, b"more")
    with pytest.raises(MalformedResponse):
        play("SCRAM-SHA-256", *answers, surroundings=surroundings)


# -- A client of another make ----------------------------------------------------------------------

SECURE = Tls("TLSv1.3", "", binding={"tls-server-end-point": b"hash", "tls-exporter": b"key"}.get)
NAMES = [name for name in MECHANISMS if name.startswith("SCRAM")]


def converse(
    client: ScramClient, mechanism: str, secret: Secret | None, *, surroundings: Surroundings
) -> str:
    """Who has authenticated, when both sides are content."""
    exchange = MECHANISMS[mechanism].begin(surroundings)
    assert next(exchange) == Challenge()
    asked = exchange.send(client.get_client_first().encode())
    assert isinstance(asked, SecretOf)
    server_first = exchange.send(secret)
    assert isinstance(server_first, Challenge)
    client.set_server_first(server_first.octets.decode())
    proven = exchange.send(client.get_client_final().encode())
    while isinstance(proven, Derivation):
        keys = ScramKeys.derive(
            proven.password, digest=proven.digest, salt=proven.salt, iterations=proven.iterations
        )
        proven = exchange.send(keys)
    assert isinstance(proven, Proven)
    assert proven.mechanism == mechanism
    server_final = exchange.send(True)
    assert isinstance(server_final, Challenge)
    client.set_server_final(server_final.octets.decode())
    with pytest.raises(StopIteration):
        exchange.send(b"")
    return proven.user


def bound(mechanism: str) -> tuple[str, bytes] | None:
    return ("tls-server-end-point", b"hash") if mechanism.endswith("-PLUS") else None


def secrets_for(mechanism: str, password: str) -> list[Secret]:
    digest: Digest = "sha256" if "256" in mechanism else "sha1"
    return [ScramKeys.derive(password, digest=digest, iterations=4096), PlainSecret(password)]


@pytest.mark.parametrize("mechanism", NAMES)
@pytest.mark.parametrize("kind", [0, 1], ids=["keys", "password"])
@pytest.mark.parametrize(
    ("user", "password"), [("anne", "pencil"), ("a,n=n=2Ce", "p,e=n"), ("\u2168", "I\u00adX")]
)
def test_another_client_and_we_understand_each_other(
    mechanism: str,
    kind: int,
    user: str,
    password: str,
    surroundings: Surroundings,
) -> None:
    client = ScramClient([mechanism], user, password, channel_binding=bound(mechanism))
    secret = secrets_for(mechanism, password)[kind]
    surroundings = surroundings._replace(tls=SECURE, offered=frozenset(NAMES))
    assert converse(client, mechanism, secret, surroundings=surroundings) == {"\u2168": "IX"}.get(
        user, user
    )


@pytest.mark.parametrize("mechanism", NAMES)
def test_another_client_does_not_get_in_with_another_password(
    mechanism: str, surroundings: Surroundings
) -> None:
    for secret in [*secrets_for(mechanism, "pencil"), None]:
        client = ScramClient([mechanism], "anne", "pen", channel_binding=bound(mechanism))
        with pytest.raises(WrongProof) as raised:
            converse(client, mechanism, secret, surroundings=surroundings._replace(tls=SECURE))
        assert raised.value.user == "anne"


def test_another_client_finds_out_who_is_not_the_server(surroundings: Surroundings) -> None:
    keys = ScramKeys.derive("pencil", iterations=4096)
    stolen = replace(keys, server_key=b"?" * 32)
    client = ScramClient(["SCRAM-SHA-256"], "anne", "pencil")
    with pytest.raises(ScramException, match="signature"):
        converse(client, "SCRAM-SHA-256", stolen, surroundings=surroundings)


# -- Channel binding -------------------------------------------------------------------------------

PLUS = "SCRAM-SHA-256-PLUS"


def test_two_ends_of_different_channels_do_not_meet(surroundings: Surroundings) -> None:
    client = ScramClient(
        [PLUS], "anne", "pencil", channel_binding=("tls-server-end-point", b"another")
    )
    with pytest.raises(WrongProof):
        converse(
            client, PLUS, PlainSecret("pencil"), surroundings=surroundings._replace(tls=SECURE)
        )


def test_a_client_from_which_binding_was_hidden_finds_no_entrance(
    surroundings: Surroundings,
) -> None:
    # RFC 5802, 6: it says `y`, because it could have bound the channel.
    def client() -> ScramClient:
        return ScramClient(["SCRAM-SHA-256"], "anne", "pencil", channel_binding=bound(PLUS))

    assert client().get_client_first().startswith("y,,")
    surroundings = surroundings._replace(tls=SECURE, offered=frozenset(NAMES))
    secret = PlainSecret("pencil")
    with pytest.raises(WrongProof) as raised:
        converse(client(), "SCRAM-SHA-256", secret, surroundings=surroundings)
    assert raised.value.user == "anne"
    without = surroundings._replace(offered=frozenset(["SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"]))
    assert converse(client(), "SCRAM-SHA-256", secret, surroundings=without) == "anne"


@pytest.mark.parametrize(
    ("mechanism", "header", "tls"),
    [
        ("SCRAM-SHA-256", b"p=tls-exporter,,", SECURE),
        (PLUS, b"n,,", SECURE),
        (PLUS, b"y,,", SECURE),
        (PLUS, b"p=tls-unique,,", Tls("TLSv1.2", "", binding=lambda _: b"any")),
        (PLUS, b"p=x,,", Tls("TLSv1.2", "", binding=lambda _: b"any")),
        (PLUS, b"p=tls-exporter,,", Tls("TLSv1.2", "", binding=lambda _: None)),
        (PLUS, b"p=tls-exporter,,", Tls("TLSv1.2", "", binding=lambda _: b"")),
        (PLUS, b"p=tls-exporter,,", Tls("TLSv1.2", "")),
        (PLUS, b"p=tls-exporter,,", None),
    ],
)
def test_a_binding_that_does_not_go_with_the_mechanism(
    mechanism: str, header: bytes, tls: Tls | None, surroundings: Surroundings, play: Play
) -> None:
    with pytest.raises(MalformedResponse):
        play(mechanism, header + b"n=anne,r=abc", surroundings=surroundings._replace(tls=tls))


# -- Who is unknown --------------------------------------------------------------------------------

KEYS = {
    digest: ScramKeys.derive("pencil", digest=digest, salt=b"0123456789abcdef")
    for digest in ("sha1", "sha256")
}


def server_first(play: Play, mechanism: str, secret: Secret | None, user: bytes = b"anne") -> bytes:
    step = play(mechanism, b"n,,n=" + user + b",r=abc", secret)[-1]
    assert isinstance(step, Challenge)
    return step.octets


@pytest.mark.parametrize(
    "secret",
    [
        KEYS["sha1"],
        PlainSecret("pencil"),
        PlainSecret(""),
        PlainSecret("a\x07"),
    ],
    ids=["sha1", "password", "empty", "prohibited"],
)
def test_an_unknown_user_looks_like_others(secret: Secret, play: Play) -> None:
    first = server_first(play, "SCRAM-SHA-256", None)
    assert first == server_first(play, "SCRAM-SHA-256", secret)
    assert first.endswith(f",i={SCRAM_ITERATIONS}".encode())
    assert len(first) == len(server_first(play, "SCRAM-SHA-256", KEYS["sha256"]))
    assert first != server_first(play, "SCRAM-SHA-1", None)
    assert first != server_first(play, "SCRAM-SHA-256", None, b"bob")
    assert first == server_first(play, "SCRAM-SHA-256", None, b"a\xc2\xadnne")


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_what_fails_costs_the_same_whoever_it_is(
    digest: Digest, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    derivations: list[tuple[str, int]] = []
    derive = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, rounds: int) -> bytes:
        derivations.append((name, rounds))
        return derive(name, password, salt, rounds)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    proof = b64encode(bytes(hashlib.new(digest).digest_size))
    answer = b"c=biws,r=abcservernonce,p=" + proof
    mechanism = {"sha1": "SCRAM-SHA-1", "sha256": "SCRAM-SHA-256"}[digest]
    for secret in (None, PlainSecret("pencil"), KEYS["sha1"], KEYS["sha256"]):
        with pytest.raises(WrongProof):
            play(mechanism, b"n,,n=anne,r=abc", secret, answer)
    assert derivations == [(digest, SCRAM_ITERATIONS)] * 4


@pytest.mark.parametrize("secret", [None, PlainSecret(""), PlainSecret("a\x07"), KEYS["sha1"]])
def test_the_decoy_lets_nobody_in(secret: Secret | None, surroundings: Surroundings) -> None:
    password = surroundings.decoy("sha256 anne").hex()
    client = ScramClient(["SCRAM-SHA-256"], "anne", password)
    with pytest.raises(WrongProof):
        converse(client, "SCRAM-SHA-256", secret, surroundings=surroundings)


# -- The grammar -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "user"),
    [
        (b"n,,n=user,r=a", "user"),
        (b"y,,n=user,r=a", "user"),
        (b"n,a=user,n=user,r=a", "user"),
        (b"n,a=a=2Cb=3D,n=a=2Cb=3D,r=a", "a,b="),
        (b"n,,n==3D2C,r=a", "=2C"),
        (b"n,,n=user,r=!~=+-", "user"),
        (b"n,,n=user,r=a,x=y,Z=a=b", "user"),
        (b"n,,n=user,r=a,x=\xc3\xa4", "user"),
        (b"n,,n=\xc3\xa4,r=a", "\u00e4"),
        (b"n,,n=user,r=" + b"a" * 192, "user"),
        (b"n,,n=" + b"a" * 255 + b",r=a", "a" * 255),
    ],
)
def test_what_is_a_first_message(message: bytes, user: str, play: Play) -> None:
    assert play("SCRAM-SHA-256", message)[1] == SecretOf(user)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n",
        b"n,,",
        b"n,n=user,r=a",
        b"x,,n=user,r=a",
        b"N,,n=user,r=a",
        b"ny,,n=user,r=a",
        b"F,n,,n=user,r=a",
        b"n,user,n=user,r=a",
        b"n,a=,n=user,r=a",
        b"n,a=\xff,n=user,r=a",
        b"n,a=us=er,n=user,r=a",
        b"n,,n=user",
        b"n,,n=user,",
        b"n,,n=user,r=",
        b"n,,n=,r=a",
        b"n,,r=a,n=user",
        b"n,,n=user,n=user,r=a",
        b"n,,n=user,x=y,r=a",
        b"n,, n=user,r=a",
        b"n,,m=x,n=user,r=a",  # RFC 5802, 5.1: a mandatory extension
        b"n,,n=user,r=a,m=x",
        b"n,,n=user,r=a,r=b",
        b"n,,n=user,r=a,n=admin",
        b"n,,n=user,r=a,x",
        b"n,,n=user,r=a,x=",
        b"n,,n=user,r=a,",
        b"n,,n=user,r=a,1=x",
        b"n,,n=user,r=a,xy=x",
        b"n,,n=user,r=a,x=\xff",
        b"n,,n=user,r=a,x=\0",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=a\x7f",
        b"n,,n=user,r=\xc3\xa4",
        b"n,,n=user,r=a\n",
        b"n,,n=us=er,r=a",
        b"n,,n=us=2cer,r=a",
        b"n,,n=us=2Der,r=a",
        b"n,,n=user=,r=a",
        b"n,,n=us\0er,r=a",
        b"n,,n=us\xffer,r=a",
        b"n,,n=us\x07er,r=a",
        b"n,,n=\xc2\xad,r=a",
        b"n,,n=" + b"a" * 256 + b",r=a",
        b"n,,n=user,r=" + b"a" * 193,
        b"p=,,n=user,r=a",
        b"p=tls_exporter,,n=user,r=a",
        b"p,,n=user,r=a",
    ],
)
def test_what_is_no_first_message(message: bytes, play: Play) -> None:
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
        with pytest.raises(MalformedResponse):
            play(mechanism, message)


def test_nobody_acts_for_another(play: Play) -> None:
    with pytest.raises(WrongProof) as raised:
        play("SCRAM-SHA-256", b"n,a=admin,n=user,r=a")
    assert raised.value.user == "user"


PROOF = b64encode(bytes(32))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws",
        b"c=biws,r=abcservernonce",
        b"c=biws,r=abcservernonce,p=",
        b"c=biws,p=" + PROOF,
        b"r=abcservernonce,c=biws,p=" + PROOF,
        b"c=biws,r=abcservernonce,x=y" + b"p=" + PROOF,
        b"c=biws,r=abcservernonce,p=" + PROOF + b",x=y",
        b"c=biws,r=abcservernonce,p=" + PROOF + b",p=" + PROOF,
        b"c=biws,r=abcservernonce,p=" + PROOF[:-1],
        b"c=biws,r=abcservernonce,p=" + PROOF + b"\n",
        b"c=biws,r=abcservernonce,p=" + PROOF[:-4] + b"-_==",
        b"c=biws,r=abcservernonce,p=" + b64encode(bytes(31)),
        b"c=biws,r=abcservernonce,p=" + b64encode(bytes(33)),
        b"c=biws,r=abcservernonce,m=x,p=" + PROOF,
        b"c=biws,r=abcservernonce,r=abcservernonce,p=" + PROOF,
        b"c=biws,r=abcservernonce,x=,p=" + PROOF,
        b"c=biws,r=abcservernonce,x=\xff,p=" + PROOF,
        b"c=biws,r=abcservernonce,x=\0,p=" + PROOF,
        b"c=biw,r=abcservernonce,p=" + PROOF,
        b"c=bi ws,r=abcservernonce,p=" + PROOF,
        b"c=biws,r=,p=" + PROOF,
        b"c=biws,r=abc\xc3\xa4,p=" + PROOF,
    ],
)
@pytest.mark.parametrize("secret", [KEYS["sha256"], None], ids=["known", "unknown"])
def test_what_is_no_final_message(message: bytes, secret: Secret | None, play: Play) -> None:
    with pytest.raises(MalformedResponse):
        play("SCRAM-SHA-256", b"n,,n=user,r=abc", secret, message)


def proof_of(first_bare: bytes, without_proof: bytes) -> bytes:
    """A client's final message with a proof that is right for all that it says (RFC 5802, 3)."""
    salt = b64encode(KEYS["sha256"].salt)
    challenge = b"r=abcservernonce,s=%b,i=%d" % (salt, SCRAM_ITERATIONS)
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", KEYS["sha256"].salt, SCRAM_ITERATIONS)
    key = hmac.digest(salted, b"Client Key", "sha256")
    transcript = b",".join((first_bare, challenge, without_proof))
    mask = hmac.digest(hashlib.sha256(key).digest(), transcript, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, mask, strict=True))
    return without_proof + b",p=" + b64encode(proof)


def test_extensions_are_proved_and_skipped(play: Play) -> None:
    final = proof_of(b"n=user,r=abc,x=y", b"c=biws,r=abcservernonce,z=a=b")
    steps = play("SCRAM-SHA-256", b"n,,n=user,r=abc,x=y", KEYS["sha256"], final)
    assert steps[-1] == Proven("user", "SCRAM-SHA-256")


@pytest.mark.parametrize(
    ("name", "octets", "meet"),
    [
        ("tls-exporter", b"key", True),
        ("tls-server-end-point", b"hash", True),
        ("tls-exporter", b"hash", False),
        ("tls-server-end-point", b"key", False),
        ("tls-exporter", b"", False),
        ("tls-exporter", b"keykey", False),
    ],
)
def test_a_channel_is_bound_by_its_name_and_octets(
    name: str, octets: bytes, meet: bool, surroundings: Surroundings, play: Play
) -> None:
    header = f"p={name},,".encode()
    binding = b64encode(header + octets)
    final = proof_of(b"n=user,r=abc", b"c=%b,r=abcservernonce" % binding)
    answers = (header + b"n=user,r=abc", KEYS["sha256"], final)
    surroundings = surroundings._replace(tls=SECURE, offered=frozenset(NAMES))
    if meet:
        steps = play(PLUS, *answers, surroundings=surroundings)
        assert steps[-1] == Proven("user", PLUS)
    else:
        with pytest.raises(WrongProof):
            play(PLUS, *answers, surroundings=surroundings)


@pytest.mark.parametrize(
    "without_proof",
    [
        b"c=biws,r=abc",  # only its own half of the nonce
        b"c=biws,r=servernonce",
        b"c=biws,r=abcservernonceX",
        b"c=biws,r=ABCservernonce",
        b"c=biws,r=abcothernonce",  # of another exchange, replayed
        b"c=eSws,r=abcservernonce",  # y,,
        b"c=,r=abcservernonce",
        b"c=biwsYQ==,r=abcservernonce",  # n,, and octets that nobody has bound
        b"c=" + b64encode(b"n,a=user,") + b",r=abcservernonce",
    ],
)
def test_what_is_proved_must_be_this_exchange(without_proof: bytes, play: Play) -> None:
    final = proof_of(b"n=user,r=abc", without_proof)
    with pytest.raises(WrongProof):
        play("SCRAM-SHA-256", b"n,,n=user,r=abc", KEYS["sha256"], final)


def test_what_the_client_proves_is_what_it_has_sent(play: Play) -> None:
    without_proof = b"c=biws,r=abcservernonce"
    final = proof_of(b"n=user,r=abc", without_proof)
    right = play("SCRAM-SHA-256", b"n,,n=user,r=abc", KEYS["sha256"], final)
    assert right[-1] == Proven("user", "SCRAM-SHA-256")
    for first_bare in (b"n=User,r=abc", b"n=user,r=abc,x=y", b"n=us\xc2\xader,r=abc"):
        with pytest.raises(WrongProof):
            play("SCRAM-SHA-256", b"n,," + first_bare, KEYS["sha256"], final)
