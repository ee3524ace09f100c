"""Bearer tokens: real keys, a real server that has them, and tokens that somebody has forged."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import ssl
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import jwt
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost import Accept, Defer, Deny, Password, Session, Site, Token, Verdict
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth import auth_oauth2
from gatepost.plugins.auth.auth_oauth2 import ALGORITHMS, RESPONSE_LIMIT, TOKEN_LIMIT, AuthOauth2
from gatepost.testing import a_session, converse

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

SITE = Site("mx.example")
ISSUER = "https://id.example"
ANNE = "anne@example.org"
CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


# -- Keys and tokens ------------------------------------------------------------------------------


def key_for(algorithm: str, number: int = 0) -> PrivateKey:
    """A private key, another one for each number."""
    return _key_for(algorithm, number)


@cache
def _key_for(algorithm: str, number: int) -> PrivateKey:
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65_537, 2048)


def described(key: PrivateKey, name: str | None = "k", **more: Any) -> dict[str, Any]:
    """The public half of a key, as a JWKS has it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        made = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        made = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        made = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**made, **({} if name is None else {"kid": name}), **more}


def claims(**more: Any) -> dict[str, Any]:
    """What a good token says, but for some claims; None takes one away."""
    good = {"iss": ISSUER, "aud": ["mail"], "exp": int(time.time()) + 86_400, "email": ANNE}
    return {name: value for name, value in (good | more).items() if value is not None}


def signed(
    *,
    algorithm: str = "ES256",
    number: int = 0,
    header: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    """A token that is good but for what is said."""
    fields = {"kid": "k"} if header is None else header
    return jwt.encode(claims(**more), key_for(algorithm, number), algorithm, fields)


def joined(
    header: bytes | dict[str, Any], payload: bytes | dict[str, Any], signature: bytes = b"x"
) -> str:
    """A token put together by hand."""
    parts = [header, payload, signature]
    octets = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in octets)


KEYS = {"keys": [described(key_for("ES256"))]}


# -- A server that has the keys -------------------------------------------------------------------


class Issuer:
    """An OAuth 2.0 server: its keys, or what it says of tokens; and what it was asked."""

    def __init__(self, answer: Any, *, elsewhere: str = "/") -> None:
        self.answer = answer
        self.elsewhere = elsewhere
        self.requests: list[tuple[web.BaseRequest, dict[str, str]]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.requests.append((request, form))
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer)
        if isinstance(self.answer, int):
            return web.Response(status=self.answer, headers={"Location": self.elsewhere})
        return web.json_response(self.answer)

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        try:
            yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}/?key=hush"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def plugged(**options: Any) -> AsyncIterator[AuthOauth2]:
    given: dict[str, Any] = {"audience": ("mail",), "issuer": ISSUER}
    plugin = AuthOauth2(**given | options)
    try:
        yield plugin
    finally:
        await plugin.shutdown(SITE)


def checked(
    token: str, *, user: str = ANNE, keys: Any = KEYS, **options: Any
) -> tuple[Verdict | None, str, Session]:
    """The verdict on a token, the user that it leads to, and the session."""

    async def hold() -> tuple[Verdict | None, str, Session]:
        async with Issuer(keys).serving() as url, plugged(jwks=url, **options) as plugin:
            credentials, session = Token(user, token), a_session()
            return await plugin.auth(session, credentials), credentials.user, session

    return asyncio.run(hold())


def refused(token: str, **more: Any) -> str:
    """Why a token is denied."""
    verdict, user, session = checked(token, **more)
    assert (verdict, user) == (Deny(), more.get("user", ANNE))
    (result,) = session.trail.results
    assert not isinstance(result, Accept)
    assert (result.plugin, result.outcome) == ("auth_oauth2", "fail")
    return result.text.removeprefix("the token is no good: ")


# -- Good tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_is_checked_with_the_key_that_it_names(algorithm: str) -> None:
    keys = {"keys": [described(key_for(name), name) for name in ALGORITHMS]}
    token = signed(algorithm=algorithm, header={"kid": algorithm})
    verdict, user, session = checked(token, keys=keys, algorithms=(algorithm,))
    assert (verdict, user) == (Accept(), ANNE)
    assert session.trail.results == []


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_some_algorithms_are_allowed_without_a_word(algorithm: str) -> None:
    assert checked(signed(algorithm=algorithm), keys={"keys": [described(key_for(algorithm))]})


@pytest.mark.parametrize("algorithm", sorted({*ALGORITHMS} - {"RS256", "ES256", "EdDSA"}))
def test_others_are_not(algorithm: str) -> None:
    keys = {"keys": [described(key_for("ES256")), described(key_for(algorithm), "other")]}
    token = signed(algorithm=algorithm, header={"kid": "other"})
    assert refused(token, keys=keys) == "its algorithm is not allowed"


def test_the_session_gets_the_name_in_the_token() -> None:
    token = signed(email="Anne@Example.org")
    assert checked(token, user="anne@example.ORG")[:2] == (Accept(), "Anne@Example.org")
    assert checked(token, user="")[:2] == (Accept(), "Anne@Example.org")


def test_a_key_without_a_name_is_for_tokens_that_name_none() -> None:
    keys = {"keys": [described(key_for("ES256"), None)]}
    assert checked(signed(header={}), keys=keys)[0] == Accept()
    assert refused(signed(), keys=keys) == "it is signed with a key that is not known"
    assert refused(signed(header={})) == "it is signed with a key that is not known"


def test_other_claims_and_scopes_can_be_asked_for() -> None:
    options: dict[str, Any] = {"user_claim": "preferred_username", "scope": "smtp.send"}
    token = signed(preferred_username="anne", email=None, scope="openid smtp.send")
    assert checked(token, user="anne", **options)[:2] == (Accept(), "anne")
    assert refused(signed(preferred_username="anne"), user="anne", **options)


def test_a_client_authenticates_by_either_mechanism() -> None:
    async def hold() -> None:
        bearer = b64encode(f"n,,\x01auth=Bearer {signed()}\x01\x01".encode()).decode()
        forged = b64encode(f"user={ANNE}\x01auth=Bearer {signed(number=1)}\x01\x01".encode())
        good = b64encode(f"user={ANNE}\x01auth=Bearer {signed()}\x01\x01".encode()).decode()
        async with Issuer(KEYS).serving() as url, plugged(jwks=url) as plugin:
            for line in (f"AUTH OAUTHBEARER {bearer}", f"AUTH XOAUTH2 {good}"):
                script = f"""
                    S: 220 ...
                    C: EHLO client.example
                    S: 250 ...
                    C: AUTH PLAIN AGFubmUAczNjcmV0
                    S: 504 5.5.4 ...
                    C: AUTH XOAUTH2 {forged.decode()}
                    S: 334 ...
                    C:
                    S: 535 5.7.8 ...
                    C: {line}
                    S: 235 2.7.0 ...
                """
                assert (await converse([plugin], script, tls=True)).user == ANNE

    asyncio.run(hold())


# -- Tokens that are not good (standards.md I5; RFC 8725, 2) --------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"exp": int(time.time()) - 3600}, "it has expired"),
        ({"exp": None}, "it has expired"),
        ({"nbf": int(time.time()) + 86_400}, "it is not valid yet"),
        ({"iss": "https://evil.example"}, "somebody else issued it"),
        ({"iss": None}, "somebody else issued it"),
        ({"aud": "calendar"}, "it is for somebody else"),
        ({"aud": None}, "it is for somebody else"),
        ({"email": "bob@example.org"}, "it is not for the user that the client named"),
        ({"email": None}, "it names no user"),
        ({"email": "anne@example.org\x01auth=Bearer"}, "it names no user"),
        ({"email_verified": False}, "its user's address is not verified"),
    ],
)
def test_what_a_token_must_not_say(more: dict[str, Any], words: str) -> None:
    assert refused(signed(**more)) == words


@pytest.mark.parametrize("user", ["bob@example.org", "anne", "anne@example.org\x01", " "])
def test_the_client_must_name_the_user_of_the_token(user: str) -> None:
    assert refused(signed(), user=user) == "it is not for the user that the client named"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, ["ES256"], 7])
@pytest.mark.parametrize("signature", [b"", b"x"])
def test_a_token_that_nobody_signed(algorithm: Any, signature: bytes) -> None:
    token = joined({"alg": algorithm, "kid": "k"}, claims(), signature)
    assert refused(token) == "its algorithm is not allowed"


def test_a_token_that_does_not_say_how_it_is_signed() -> None:
    assert refused(joined({"kid": "k"}, claims())) == "its algorithm is not allowed"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["PEM", "DER", "JWK"])
def test_a_public_key_is_no_password(algorithm: str, form: str) -> None:
    key = key_for("ES256").public_key()
    secrets = {
        "PEM": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(described(key_for("ES256"))).encode(),
    }
    unsigned = joined({"alg": algorithm, "kid": "k"}, claims()).rpartition(".")[0]
    digest = hmac.digest(secrets[form], unsigned.encode(), f"sha{algorithm[2:]}")
    token = f"{unsigned}.{urlsafe_b64encode(digest).decode().rstrip('=')}"
    assert refused(token) == "its algorithm is not allowed"


def test_a_token_that_somebody_else_signed() -> None:
    assert refused(signed(number=1)) == "its signature is wrong"


def test_a_token_that_brings_its_own_key() -> None:
    theirs = described(key_for("ES256", 1))
    header = {"kid": "k", "jwk": theirs, "jku": "https://evil.example/", "x5u": "https://evil/"}
    assert refused(signed(number=1, header=header)) == "its signature is wrong"


def test_a_token_that_was_changed() -> None:
    header, payload, signature = signed().split(".")
    other = joined({}, claims(email="bob@example.org")).split(".")[1]
    assert refused(f"{header}.{other}.{signature}", user="bob@example.org")
    assert refused(f"{header}.{payload}.{signature[:-4]}")
    assert refused(f"{header}.{payload}.")
    assert refused(f"{header}.{payload}")


def test_an_algorithm_that_is_not_its_keys() -> None:
    keys = {"keys": [described(key_for("RS256"), "rsa"), described(key_for("ES256"), "ec")]}
    unknown = "it is signed with a key that is not known"
    assert refused(signed(header={"kid": "rsa"}), keys=keys) == unknown
    assert refused(signed(algorithm="RS256", header={"kid": "ec"}), keys=keys) == unknown


def private(key: PrivateKey) -> dict[str, Any]:
    """A key with its private half, which nobody else may have."""
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    assert "d" in made
    return {**made, "kid": "k"}


# fmt: off
UNUSABLE: dict[str, dict[str, Any]] = {
    "it is for something else":   described(key_for("ES256"), use="enc"),
    "it is for another algorithm": described(key_for("ES256"), alg="ES384"),
    "it is private":              private(key_for("ES256")),
    "it has no type":             {**described(key_for("ES256")), "kty": None},
    "its curve is another":       {**described(key_for("ES256")), "crv": "P-999"},
    "it is not on its curve":     {**described(key_for("ES256")), "x": "A" * 43},
    "it is broken":               {**described(key_for("ES256")), "x": 5},
    "it is half a key":           {"kid": "k", "kty": "EC", "crv": "P-256"},
    "its name is none":           {**described(key_for("ES256")), "kid": ["k"]},
    "it is a password":           {"kid": "k", "kty": "oct", "k": "AAAA", "alg": "ES256"},
}
# fmt: on


@pytest.mark.parametrize("key", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_key_that_is_not_used(key: dict[str, Any]) -> None:
    keys = {"keys": [described(key_for("ES256", 1), "good"), key, "x", None]}
    assert refused(signed(), keys=keys) == "it is signed with a key that is not known"
    assert checked(signed(number=1, header={"kid": "good"}), keys=keys)[0] == Accept()


def test_a_short_rsa_key_is_not_used() -> None:
    short = rsa.generate_private_key(65_537, 1024)
    keys = {"keys": [described(key_for("ES256"), "good"), described(short)]}
    with pytest.warns(UserWarning, match="below the minimum"):
        token = jwt.encode(claims(), short, "RS256", {"kid": "k"})
    assert refused(token, keys=keys) == "it is signed with a key that is not known"


# fmt: off
NO_JWT: dict[str, str] = {
    "nothing":                 "",
    "a word":                  "s3cret",
    "dots":                    "..",
    "no base64":               "!!!.???.***",
    "no JSON":                 joined(b"header", b"payload"),
    "a list":                  joined(b"[]", b"[]"),
    "no UTF-8":                joined(b'{"alg": "\xff"}', b"{}"),
    "a deep header":           joined(b"[" * 8_000, b"{}"),
    "a deeper header":         joined(b'{"a":' * 2_000, b"{}"),
    "a number without end":    joined(b'{"alg": ' + b"9" * 8_000 + b"}", b"{}"),
    "a name that is a number": joined({"alg": "ES256", "kid": 7}, claims()),
    "a name that is a list":   joined({"alg": "ES256", "kid": []}, claims()),
    "an extension":            joined({"alg": "ES256", "kid": "k", "crit": ["exp"]}, claims()),
    "a payload elsewhere":     joined({"alg": "ES256", "kid": "k", "b64": False}, b""),
    "five parts (a JWE)":      f"{joined({'alg': 'RSA-OAEP'}, b'x')}.x.x",
}
# fmt: on


@pytest.mark.parametrize("token", NO_JWT.values(), ids=NO_JWT.keys())
def test_what_is_no_jwt(token: str) -> None:
    assert refused(token) in ("it is no JWT", "its algorithm is not allowed")


@pytest.mark.parametrize("payload", [b"", b"claims", b"[]", b"null", b"\xff", b"[" * 8_000])
def test_what_is_signed_may_still_be_nothing(payload: bytes) -> None:
    token = jwt.PyJWS().encode(payload, key_for("ES256"), "ES256", {"kid": "k"})
    assert refused(token) == "it is no JWT"


@pytest.mark.parametrize("token", ["x" * (TOKEN_LIMIT + 1), "a.b.é", "\ud800"])
def test_a_token_that_is_not_looked_at(token: str) -> None:
    assert refused(token) == "it is too long, or of strange characters"


def test_only_tokens() -> None:
    async def hold() -> None:
        async with plugged(jwks="https://id.example/keys") as plugin:
            assert await plugin.auth(a_session(), Password(ANNE, signed())) is None
            assert plugin.mechanisms(a_session(), ("PLAIN",)) == ("PLAIN", "OAUTHBEARER", "XOAUTH2")

    asyncio.run(hold())


# -- Where keys come from -------------------------------------------------------------------------


def test_keys_are_fetched_once() -> None:
    async def hold() -> None:
        issuer = Issuer(KEYS)
        async with issuer.serving() as url, plugged(jwks=url) as plugin:
            tokens = [signed(), signed(header={"kid": "unknown"}), signed(number=1)] * 5
            verdicts = [await plugin.auth(a_session(), Token(ANNE, token)) for token in tokens]
        assert verdicts == [Accept(), Deny(), Deny()] * 5
        ((request, _),) = issuer.requests
        assert (request.method, request.path_qs) == ("GET", "/?key=hush")

    asyncio.run(hold())


def test_a_new_key_is_fetched_and_an_old_one_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_oauth2, "KEYS_REST", 0.0)

    async def hold() -> None:
        issuer = Issuer(KEYS)
        async with issuer.serving() as url, plugged(jwks=url) as plugin:
            assert await plugin.auth(a_session(), Token(ANNE, signed())) == Accept()
            issuer.answer = {"keys": [described(key_for("ES256", 1), "new")]}
            new = signed(number=1, header={"kid": "new"})
            assert await plugin.auth(a_session(), Token(ANNE, new)) == Accept()
            assert len(issuer.requests) == 2
            assert await plugin.auth(a_session(), Token(ANNE, signed())) == Deny()

    asyncio.run(hold())


# fmt: off
NO_KEYS: dict[str, Any] = {
    "an error":             500,
    "there is nothing":     404,
    "a redirection":        302,
    "not yet":              204,
    "nothing":              b"",
    "no JSON":              b"keys",
    "no object":            b"[]",
    "deep JSON":            b"[" * 100_000,
    "no keys":              {},
    "an empty list":        {"keys": []},
    "no list":              {"keys": "k"},
    "nothing usable":       {"keys": [1, {}, UNUSABLE["it is private"]]},
    "more than is read":    b" " * RESPONSE_LIMIT + json.dumps(KEYS).encode(),
    "more than are used":   {"keys": [{}] * 100 + KEYS["keys"]},
}
# fmt: on


@pytest.mark.parametrize("keys", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_without_keys_nobody_can_tell(keys: Any) -> None:
    assert checked(signed(), keys=keys)[:2] == (Defer(), ANNE)


def test_a_redirection_is_not_followed() -> None:
    async def hold() -> None:
        other = Issuer(KEYS)
        async with other.serving() as there:
            issuer = Issuer(302, elsewhere=there)
            async with issuer.serving() as url, plugged(jwks=url) as plugin:
                assert await plugin.auth(a_session(), Token(ANNE, signed())) == Defer()
        assert other.requests == []

    asyncio.run(hold())


def test_a_server_that_is_down_is_not_asked_again_at_once() -> None:
    async def hold() -> None:
        issuer = Issuer(500)
        async with issuer.serving() as url, plugged(jwks=url) as plugin:
            for _ in range(3):
                assert await plugin.auth(a_session(), Token(ANNE, signed())) == Defer()
        assert len(issuer.requests) == 1

    asyncio.run(hold())


def test_a_forged_token_is_denied_while_the_server_is_down() -> None:
    assert refused(joined({"alg": "none"}, claims(), b""), keys=500)


def test_a_server_that_does_not_answer() -> None:
    async def hold() -> None:
        ended = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65_536):
                pass
            writer.close()
            await writer.wait_closed()
            ended.set()

        async with await asyncio.start_server(wait, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            async with plugged(jwks=url, wait=0.2) as plugin:
                assert await plugin.auth(a_session(), Token(ANNE, signed())) == Defer()
            await ended.wait()

    asyncio.run(hold())


def test_keys_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_oauth2, "KEYS_REST", 0.0)
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(KEYS))

    async def hold() -> None:
        async with plugged(jwks_file=file) as plugin:
            assert await plugin.auth(a_session(), Token(ANNE, signed())) == Accept()
            file.write_text(json.dumps({"keys": [described(key_for("ES256", 1), "new")]}))
            new = signed(number=1, header={"kid": "new"})
            assert await plugin.auth(a_session(), Token(ANNE, new)) == Accept()
            file.unlink()
            another = signed(header={"kid": "another"})
            assert await plugin.auth(a_session(), Token(ANNE, another)) == Defer()

    asyncio.run(hold())


def test_the_servers_certificate_is_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)

    async def hold(**options: Any) -> Verdict | None:
        async with Issuer(KEYS).serving(context) as url, plugged(jwks=url, **options) as plugin:
            return await plugin.auth(a_session(), Token(ANNE, signed()))

    assert asyncio.run(hold()) == Defer()
    assert asyncio.run(hold(authorities=file)) == Accept()
    assert asyncio.run(hold(verify=False)) == Accept()


# -- Introspection --------------------------------------------------------------------------------

US = {"client_id": "mail server", "client_secret": "s:3%cret é"}


@asynccontextmanager
async def introspecting(server: Issuer, **options: Any) -> AsyncIterator[AuthOauth2]:
    given: dict[str, Any] = US | options
    async with server.serving() as url, plugged(introspection=url, **given) as plugin:
        yield plugin


def introspected(
    answer: Any, *, user: str = ANNE, **options: Any
) -> tuple[Verdict | None, str, Issuer]:
    """The verdict on a token of which the server says this, and the user that it leads to."""

    async def hold() -> tuple[Verdict | None, str, Issuer]:
        issuer = Issuer(answer)
        async with introspecting(issuer, **options) as plugin:
            credentials = Token(user, "opaque")
            return await plugin.auth(a_session(), credentials), credentials.user, issuer

    return asyncio.run(hold())


def test_the_server_is_asked_about_a_token() -> None:
    verdict, user, issuer = introspected({"active": True} | claims(email="Anne@example.org"))
    assert (verdict, user) == (Accept(), "Anne@example.org")
    ((request, form),) = issuer.requests
    assert request.method == "POST"
    assert form == {"token": "opaque", "token_type_hint": "access_token"}
    kind, _, coded = request.headers["Authorization"].partition(" ")
    names = b64decode(coded).decode().split(":")
    assert (kind, [unquote(name) for name in names]) == ("Basic", ["mail server", "s:3%cret é"])


# fmt: off
SAID: list[tuple[Any, Verdict]] = [
    ({"active": True} | claims(exp=None),               Accept()),
    ({"active": True} | claims(scope="a b"),            Accept()),
    ({"active": False},                                 Deny()),
    ({"active": False} | claims(),                      Deny()),
    ({"active": True} | claims(exp=1),                  Deny()),
    ({"active": True} | claims(exp="tomorrow"),         Deny()),
    ({"active": True} | claims(nbf=time.time() + 86_400), Deny()),
    ({"active": True} | claims(iss="https://evil"),     Deny()),
    ({"active": True} | claims(iss=None),               Deny()),
    ({"active": True} | claims(aud="calendar"),         Deny()),
    ({"active": True} | claims(aud=None),               Deny()),
    ({"active": True} | claims(email="bob@example.org"), Deny()),
    ({"active": True} | claims(email=None),             Deny()),
    ({"active": True} | claims(email_verified=False),   Deny()),
    ({"active": "true"} | claims(),                     Defer()),
    ({"active": 1} | claims(),                          Defer()),
    (claims(),                                          Defer()),
    ([],                                                Defer()),
    (b"active",                                         Defer()),
    (b"",                                               Defer()),
    (b'{"active": true, "a": ' + b"[" * 100_000,        Defer()),
    (b" " * RESPONSE_LIMIT + b'{"active": false}',      Defer()),
    (401,                                               Defer()),
    (403,                                               Defer()),
    (302,                                               Defer()),
    (500,                                               Defer()),
]
# fmt: on


@pytest.mark.parametrize(("answer", "expected"), SAID)
def test_what_the_server_says_of_a_token(answer: Any, expected: Verdict) -> None:
    assert introspected(answer)[:2] == (expected, ANNE)


def test_the_issuer_may_go_unsaid_where_there_is_but_one() -> None:
    assert introspected({"active": True} | claims(iss=None), issuer="")[0] == Accept()


def test_a_good_token_is_remembered_for_its_user() -> None:
    async def hold() -> None:
        issuer = Issuer({"active": True} | claims())
        async with introspecting(issuer) as plugin:
            for _ in range(3):
                assert await plugin.auth(a_session(), Token(ANNE, "opaque")) == Accept()
            assert len(issuer.requests) == 1
            other = Token("bob@example.org", "opaque")
            assert await plugin.auth(a_session(), other) == Deny()
            assert len(issuer.requests) == 2
            assert await plugin.auth(a_session(), Token(ANNE, "another")) == Accept()
            assert len(issuer.requests) == 3

    asyncio.run(hold())


@pytest.mark.parametrize(("active", "remember"), [(False, 60.0), (True, 0.0)])
def test_nothing_else_is_remembered(active: bool, remember: float) -> None:
    async def hold() -> None:
        issuer = Issuer({"active": active} | claims())
        async with introspecting(issuer, remember=remember) as plugin:
            await plugin.auth(a_session(), Token(ANNE, "opaque"))
            await plugin.auth(a_session(), Token(ANNE, "opaque"))
        assert len(issuer.requests) == 2

    asyncio.run(hold())


# -- Secrets --------------------------------------------------------------------------------------


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = signed(number=1)
    session = checked(token)[2]
    checked(token, keys=500)
    introspected(b"t0p-secret opaque s:3%cret")
    introspected(500)
    given: dict[str, Any] = {"introspection": "https://id.example/", **US}
    plugin = AuthOauth2(("mail",), **given)
    logged = [one.getMessage() for one in caplog.records if one.name.startswith("gatepost")]
    assert len(logged) == 4
    told = "\n".join([*logged, repr(session.trail.results), repr(plugin)])
    for secret in (*token.split("."), "hush", "opaque", "t0p-secret", "s:3%cret"):
        assert secret not in told


# -- Options --------------------------------------------------------------------------------------

GOOD_OPTIONS: dict[str, Any] = {"audience": ["mail"], "issuer": ISSUER, "jwks": f"{ISSUER}/keys"}
INTROSPECTION = {"jwks": None, "introspection": f"{ISSUER}/introspect"} | US


def loaded(options: dict[str, Any], directory: Path) -> Any:
    table = {"use": "auth_oauth2"} | GOOD_OPTIONS | options
    given = {name: value for name, value in table.items() if value is not None}
    return load(given, directory=directory, directories=[])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jwks": "http://127.0.0.1:8080/keys"},
        {"jwks": "http://keycloak:8080/keys", "verify": False},
        INTROSPECTION,
        INTROSPECTION | {"issuer": None},
        {"jwks": None, "jwks_file": "keys.json"},
        {"algorithms": ["PS256"]},
    ],
)
def test_it_loads_from_toml(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    assert isinstance(loaded(options, tmp_path), Loaded)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"audience": None}, "option 'audience' is missing"),
        ({"audience": []}, "option 'audience'"),
        ({"issuer": None}, "option 'issuer' is missing"),
        ({"jwks": None}, "give one of the options"),
        ({"jwks_file": "keys.json"}, "give one of the options"),
        (INTROSPECTION | {"jwks": f"{ISSUER}/keys"}, "give one of the options"),
        (INTROSPECTION | {"client_id": None}, "option 'introspection' needs"),
        (INTROSPECTION | {"client_secret": None}, "option 'introspection' needs"),
        (INTROSPECTION | {"introspection": "http://id.example/"}, "'introspection' must be"),
        ({"jwks": "http://id.example/keys"}, "option 'jwks' must be"),
        ({"jwks": "file:///keys"}, "option 'jwks' must be"),
        ({"jwks": None, "jwks_file": "nowhere.json"}, "option 'jwks_file': .*No such file"),
        ({"jwks": None, "jwks_file": "empty.json"}, "option 'jwks_file': .*no object"),
        ({"jwks": None, "jwks_file": "none.json"}, "option 'jwks_file': .*no key"),
        ({"algorithms": ["none"]}, "option 'algorithms' must"),
        ({"algorithms": ["ES256", "HS256"]}, "option 'algorithms' must"),
        ({"algorithms": []}, "option 'algorithms' must"),
        ({"wait": 0}, "option 'wait'"),
        ({"leeway": -1}, "option 'wait'"),
        ({"authorities": "nowhere.pem"}, "option 'authorities'"),
    ],
)
def test_options_that_make_no_sense_are_errors(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "none.json").write_text('{"keys": []}')
    with pytest.raises(ValueError, match=words):
        raise ValueError(loaded(options, tmp_path)[0].text)
