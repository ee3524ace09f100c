"""Users in a real OpenLDAP directory: every way to a server, and what clients try to slip in."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import argon2
import pytest
import trustme

from gatepost import Accept, Defer, Deny, Password, Proven, Site, Verdict
from gatepost.plugins.auth.auth_ldap import AuthLdap
from gatepost.testing import a_session
from tests.ports import free_ports

PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/local/libexec:/usr/lib/openldap"
SLAPD = shutil.which("slapd", path=PROGRAMS)
SCHEMAS, MODULES = Path("/etc/ldap/schema"), Path("/usr/lib/ldap")
pytestmark = pytest.mark.skipif(
    SLAPD is None or not SCHEMAS.exists() or not MODULES.exists(),
    reason="slapd is not installed where Debian has it",
)

#: Seconds that slapd has to start.
PATIENCE = 15.0
PEOPLE = "ou=people,dc=example,dc=org"
READER = {"bind_dn": "cn=reader,dc=example,dc=org", "bind_password": "read"}
SECRET = "sécret, with (all) *sorts*"

CONFIGURATION = """
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
modulepath {modules}
moduleload back_mdb
moduleload argon2
pidfile {directory}/pid
TLSCACertificateFile {directory}/ca.pem
TLSCertificateFile {directory}/server.pem
TLSCertificateKeyFile {directory}/server.key
localSSF 128
allow bind_anon_dn
database mdb
suffix dc=example,dc=org
directory {directory}/data
maxsize 10485760
access to attrs=userPassword by anonymous auth
access to dn.base="cn=open,dc=example,dc=org" by anonymous read
access to dn.subtree="ou=open,dc=example,dc=org" by * read
access to * by dn.exact="cn=reader,dc=example,dc=org" read
"""
# `bind_anon_dn`: a bind that has a name but no password succeeds, as RFC 4513, 5.1.2 has it.
ENTRIES = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=reader,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: read

dn: {people}
objectClass: organizationalUnit
ou: people

dn: ou=open,dc=example,dc=org
objectClass: organizationalUnit
ou: open

dn: uid=olga,ou=open,dc=example,dc=org
objectClass: account
objectClass: simpleSecurityObject
uid: olga
userPassword: open

dn: ou=elsewhere,{people}
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:1/ou=people,dc=example,dc=com
"""
PERSON = """
dn: {rdn},{people}
objectClass: inetOrgPerson
cn: {uid}
sn: {uid}
uid: {uid}
mail: {mail}
userPassword: {password}
"""
PEOPLE_THERE = [
    # (the relative distinguished name, uid, mail, password)
    ("uid=bob", "bob", "bob@example.org", SECRET),
    ("uid=carol", "carol", "shared@example.org", "carol's"),
    ("uid=dave", "dave", "shared@example.org", "dave's"),
    ("uid=bücher", "bücher", "buecher@example.org", "bücher's"),
    (r"uid=o\2cneil\2bco", "o,neil+co", "oneil@example.org", "o'neil's"),
]


@dataclass(frozen=True)
class Slapd:
    """A slapd that runs, with files and ports of its own."""

    authorities: Path
    ldap: str
    ldaps: str
    ldapi: str

    def plugin(self, *servers: str, **options: Any) -> AuthLdap:
        """The plugin, by default over a socket and with a search."""
        if "dn" not in options:
            options = {"base": PEOPLE, **READER, **options}
        options = {"authorities": self.authorities, **options}
        return AuthLdap(servers=servers or (self.ldapi,), **options)


def entries() -> str:
    hashed = argon2.PasswordHasher(time_cost=8, memory_cost=65536, parallelism=1).hash("slow")
    people = [*PEOPLE_THERE, ("uid=erin", "erin", "erin@example.org", f"{{ARGON2}}{hashed}")]
    return ENTRIES.format(people=PEOPLE) + "".join(
        PERSON.format(people=PEOPLE, rdn=rdn, uid=uid, mail=mail, password=password)
        for rdn, uid, mail, password in people
    )


def configure(directory: Path) -> Path:
    (directory / "data").mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(directory / "server.key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(directory / "server.pem", append=True)
    path = directory / "slapd.conf"
    path.write_text(
        CONFIGURATION.format(directory=directory, schemas=SCHEMAS, modules=MODULES),
        encoding="utf-8",
    )
    subprocess.run(
        [str(SLAPD), "-T", "add", "-f", str(path)],
        input=entries().encode(),
        check=True,
        timeout=PATIENCE,
        capture_output=True,
    )
    return path


def await_listener(process: subprocess.Popen[bytes], path: Path) -> None:
    end = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(str(path)):
            assert process.poll() is None, "slapd has ended"
            assert time.monotonic() < end, "slapd does not listen"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    directory = tmp_path_factory.mktemp("slapd")
    path = configure(directory)
    port, tls_port = free_ports(2)
    running = Slapd(
        directory / "ca.pem",
        f"ldap://127.0.0.1:{port}",
        f"ldaps://127.0.0.1:{tls_port}",
        f"ldapi://{quote(str(directory / 'socket'), safe='')}",
    )
    urls = f"{running.ldap} {running.ldaps} {running.ldapi}"
    command = [str(SLAPD), "-f", str(path), "-h", urls, "-d", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            await_listener(process, directory / "socket")
            yield running
        finally:
            process.terminate()
            process.wait(PATIENCE)


def asked(plugin: AuthLdap, user: str, password: str) -> tuple[Verdict | None, str]:
    """What the plugin says of a password, and the name that the user has from then on."""
    shown = Password(user, password)
    try:
        return asyncio.run(plugin.auth(a_session(), shown)), shown.user
    finally:
        plugin.shutdown(Site("mx.example"))


def verdict(plugin: AuthLdap, user: str, password: str) -> Verdict | None:
    return asked(plugin, user, password)[0]


# -- The ways to a server -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ldap", "ldaps", "ldapi"])
@pytest.mark.parametrize("way", [{}, {"dn": f"uid={{user}},{PEOPLE}"}], ids=["search", "dn"])
def test_a_password_is_checked_over(slapd: Slapd, kind: str, way: dict[str, str]) -> None:
    for password, expected in (SECRET, Accept()), ("wrong", Deny()):
        plugin = slapd.plugin(getattr(slapd, kind), **way)
        assert verdict(plugin, "bob", password) == expected


def test_a_password_is_checked_in_clear_when_the_option_says_so(slapd: Slapd) -> None:
    assert verdict(slapd.plugin(slapd.ldap, tls="off"), "bob", SECRET) == Accept()


@pytest.mark.parametrize("kind", ["ldap", "ldaps"])
def test_a_certificate_of_nobody_we_trust_is_no_server(slapd: Slapd, kind: str) -> None:
    server = getattr(slapd, kind)
    assert verdict(slapd.plugin(server, authorities=None), "bob", SECRET) == Defer()
    assert verdict(slapd.plugin(server, authorities=None, verify=False), "bob", SECRET) == Accept()


@pytest.mark.parametrize("kind", ["ldap", "ldaps"])
def test_a_certificate_of_another_name_is_no_server(slapd: Slapd, kind: str) -> None:
    other = getattr(slapd, kind).replace("127.0.0.1", "127.1")  # an address that it is not for
    assert verdict(slapd.plugin(other), "bob", SECRET) == Defer()
    assert verdict(slapd.plugin(other, verify=False), "bob", SECRET) == Accept()


def test_the_next_server_is_asked_when_one_is_down(
    slapd: Slapd, caplog: pytest.LogCaptureFixture
) -> None:
    dead = f"ldap://127.0.0.1:{free_ports(1)[0]}"
    assert verdict(slapd.plugin(dead, slapd.ldaps), "bob", SECRET) == Accept()
    assert verdict(slapd.plugin(dead, slapd.ldaps), "bob", "wrong") == Deny()
    assert verdict(slapd.plugin(dead), "bob", SECRET) == Defer()
    assert dead in caplog.text
    assert SECRET not in caplog.text


# -- The search -----------------------------------------------------------------------------------


def test_an_unknown_user_is_left_to_the_next_plugin(slapd: Slapd) -> None:
    assert verdict(slapd.plugin(), "nobody", SECRET) is None


def test_with_a_dn_an_unknown_user_is_denied(slapd: Slapd) -> None:
    assert verdict(slapd.plugin(dn=f"uid={{user}},{PEOPLE}"), "nobody", SECRET) == Deny()


def test_an_unknown_user_has_to_wait_as_long_as_others(slapd: Slapd) -> None:
    # Erin's hash takes slapd hundreds of times longer than a look for a user who is not there.
    async def scenario() -> tuple[float, float]:
        plugin = slapd.plugin(remember=0)
        seconds = []
        for user, expected in ("erin", Deny()), ("nobody", None):
            began = time.monotonic()
            assert await plugin.auth(a_session(), Password(user, "wrong")) == expected
            seconds.append(time.monotonic() - began)
        plugin.shutdown(Site("mx.example"))
        return seconds[0], seconds[1]

    known, unknown = asyncio.run(scenario())
    assert unknown > known * 0.8


def test_the_search_may_be_anonymous(slapd: Slapd) -> None:
    options = {"base": "ou=open,dc=example,dc=org", "bind_dn": "", "bind_password": ""}
    assert verdict(slapd.plugin(**options), "olga", "open") == Accept()
    assert verdict(slapd.plugin(**options), "olga", "wrong") == Deny()
    assert verdict(slapd.plugin(**options), "bob", SECRET) is None


def test_several_entries_are_nobody(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    plugin = slapd.plugin(filter="(mail={user})")
    assert verdict(plugin, "shared@example.org", "carol's") == Defer()
    assert "the option 'filter' finds several entries" in caplog.text


def test_the_user_may_have_another_name_in_the_directory(slapd: Slapd) -> None:
    options = {"filter": "(|(uid={user})(mail={user}))", "user_attribute": "uid"}
    assert asked(slapd.plugin(**options), "BOB@example.org", SECRET) == (Accept(), "bob")
    assert asked(slapd.plugin(**options), "BOB@example.org", "x") == (Deny(), "BOB@example.org")
    assert asked(slapd.plugin(), "BOB", SECRET) == (Accept(), "BOB")
    options["user_attribute"] = "title"
    assert asked(slapd.plugin(**options), "bob", SECRET) == (Defer(), "bob")


def test_parts_of_the_name_may_be_asked_for(slapd: Slapd) -> None:
    options = {"filter": "(&(uid={local})(mail=*@{domain}))"}
    assert verdict(slapd.plugin(**options), "bob@example.org", SECRET) == Accept()
    assert verdict(slapd.plugin(**options), "bob@elsewhere.example", SECRET) is None
    assert verdict(slapd.plugin(**options), "bob", SECRET) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bind_password": "wrong"}, "'bind_dn' is answered invalidCredentials"),
        ({"base": "ou=nowhere,dc=example,dc=org"}, "the search is answered noSuchObject"),
        ({"bind_dn": "", "bind_password": ""}, "the search is answered noSuchObject"),
    ],
)
def test_a_search_that_fails_defers(
    slapd: Slapd, options: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert verdict(slapd.plugin(**options), "bob", SECRET) == Defer()
    assert told in caplog.text


# -- What clients try -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", [{}, {"dn": f"uid={{user}},{PEOPLE}"}], ids=["search", "dn"])
@pytest.mark.parametrize(
    ("user", "password"),
    [("bücher", "bücher's"), ("o,neil+co", "o'neil's")],
)
def test_names_of_all_sorts_are_found(
    slapd: Slapd, way: dict[str, str], user: str, password: str
) -> None:
    assert verdict(slapd.plugin(**way), user, password) == Accept()


TRICKS = [
    "*",
    "bo*",
    "bob)(uid=*",
    "*)(uid=*))(|(uid=*",
    "bob)(objectClass=*",
    "bob)",
    "(bob",
    r"bob\2a",
    "bob\\",
    "bob\0",
    "\0",
    "bob,ou=people",
    f"bob,{PEOPLE}",
    "bob+cn=bob",
    "#04036f6f62",
    '"bob"',
    "bob;x",
    "<bob>",
    "bob=x",
    "bo\N{ZERO WIDTH SPACE}b",
    "x" * 5000,
]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_name_can_mean_nothing_but_itself(slapd: Slapd, trick: str) -> None:
    assert verdict(slapd.plugin(), trick, SECRET) is None
    assert verdict(slapd.plugin(dn=f"uid={{user}},{PEOPLE}"), trick, SECRET) == Deny()


@pytest.mark.parametrize("way", [{}, {"dn": f"uid={{user}},{PEOPLE}"}], ids=["search", "dn"])
def test_a_password_that_is_empty_is_wrong(slapd: Slapd, way: dict[str, str]) -> None:
    assert verdict(slapd.plugin(**way), "bob", "") == Deny()


@pytest.mark.parametrize("password", ["\0", f"{SECRET}\0", "x" * 100_000, "\N{NO-BREAK SPACE}"])
def test_passwords_of_all_sorts_are_wrong(slapd: Slapd, password: str) -> None:
    assert verdict(slapd.plugin(), "bob", password) == Deny()


# -- Memory ---------------------------------------------------------------------------------------


def test_a_right_password_is_remembered_with_the_name(slapd: Slapd) -> None:
    async def scenario() -> list[tuple[Verdict | None, str]]:
        plugin = slapd.plugin(filter="(mail={user})", user_attribute="uid")
        answers = []
        for password in "wrong", SECRET, SECRET, "wrong":
            shown = Password("bob@example.org", password)
            answers.append((await plugin.auth(a_session(), shown), shown.user))
            if password == SECRET:
                plugin._servers = ()  # there is nobody to be asked any more
        plugin.shutdown(Site("mx.example"))
        return answers

    assert asyncio.run(scenario()) == [
        (Deny(), "bob@example.org"),
        (Accept(), "bob"),
        (Accept(), "bob"),
        (Defer(), "bob@example.org"),
    ]


def test_names_are_remembered_for_so_many_users(
    slapd: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.plugins.auth.auth_ldap.NAMES", 1)
    shown = ("bob@example.org", SECRET), ("buecher@example.org", "bücher's")

    async def scenario() -> list[str]:
        plugin = slapd.plugin(filter="(mail={user})", user_attribute="uid")
        names = []
        for user, password in shown * 2:
            one = Password(user, password)
            assert await plugin.auth(a_session(), one) == Accept()
            names.append(one.user)
        plugin.shutdown(Site("mx.example"))
        return names

    assert asyncio.run(scenario()) == ["bob", "bücher"] * 2


def test_many_ask_at_once(slapd: Slapd) -> None:
    async def scenario() -> list[Verdict | None]:
        plugin = slapd.plugin(slapd.ldaps, at_once=4)
        shown = [Password("bob", SECRET if number % 2 else "wrong") for number in range(40)]
        try:
            return await asyncio.gather(*(plugin.auth(a_session(), one) for one in shown))
        finally:
            plugin.shutdown(Site("mx.example"))

    assert asyncio.run(scenario()) == [Deny(), Accept()] * 20


def test_no_secret_is_logged(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dead = f"ldap://127.0.0.1:{free_ports(1)[0]}"
    for servers in (slapd.ldaps, dead), (dead,):
        plugin = slapd.plugin(*servers, bind_password="hush")
        assert "hush" not in repr(plugin)
        assert verdict(plugin, "bob", SECRET) == Defer()
    assert SECRET not in caplog.text
    assert "hush" not in caplog.text


def test_a_user_who_has_proved_a_secret_is_none_of_its_business(slapd: Slapd) -> None:
    plugin = slapd.plugin()
    assert asyncio.run(plugin.auth(a_session(), Proven("bob", "SCRAM-SHA-256"))) is None
    plugin.shutdown(Site("mx.example"))
