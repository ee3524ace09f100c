"""HashedPassword: known hashes, what other programs write and read, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
import sys
import traceback
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from gatepost import HashedPassword, PlainSecret, ScramKeys, libcrypt
from gatepost.hashed_password import FOR_NEW, PASSWORD_LIMIT
from gatepost.password_schemes import SCHEMES

#: Pairs of lines: the scheme and the password, and what is kept of it.
KNOWN = """
# The tests of the reference implementation of Argon2, P-H-C/phc-winner-argon2, test.c.
argon2id password
$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4
argon2i password
$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8
# RFC 7914, 12, the third vector; and the documentation of passlib.hash.scrypt.
scrypt pleaseletmein
$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw
scrypt password
$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E
# Openwall's crypt_blowfish, wrapper.c.
bcrypt U*U
$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW
# U. Drepper, Unix crypt using SHA-256 and SHA-512.
sha512-crypt Hello world!
$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.
sha256-crypt Hello world!
$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5
# The tests of libxcrypt.
md5-crypt password
$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/
# The reference implementation of yescrypt, TESTS-OK.
yescrypt pleaseletmein
$y$jD5.7$LdJMENpBABJJ3hIHjB1Bi.$HboGM6qPrsK.StKYGt6KErmUYtioHreJd98oIugoNB6
# Dovecot 2.3.19.1: doveadm pw -s SCHEME -p pencil
argon2id pencil
{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$CnCdtHSUCAYutNqyEoPxKg$Kd+19tDJO0b+qZKd4MyBP3cPdljaYA+4FMq6fL/JP84
sha512-crypt pencil
{SHA512-CRYPT}$6$1DpGRAyvNGrZBqVT$cAHJSL7OXf0ieYXIQ0/8.nuJULWXv.GY5PW5TdqZripV5iMyErHrTerW4PBkQQeuH0kJ9dG0xRVAd5CNAhCRn0
sha256-crypt pencil
{SHA256-CRYPT}$5$eFpzDEt8YNi.lfK3$o0XH8SjQ.JfG9GC3HhqBKW1wXjMtviT5k4QT951wd6.
md5-crypt pencil
{MD5-CRYPT}$1$/7.CWiOr$S3UVG97Y/FfmCUcQzrjhg.
bcrypt pencil
{BLF-CRYPT}$2y$05$/i3bkqrXxFafNMDMG6118uBg87GeIcisCiycAtb0V1d9d35T4l.3q
bcrypt pencil
{CRYPT}$2y$05$g2jEwvgPzbRjd22gr3LodeNaLP9B/N3qn3wRtgE0dOVOOcPwMKzZG
scram-sha-256 pencil
{SCRAM-SHA-256}4096,IQsx360j/wm7JosEIJmW/w==,6+LcGEt32PJtxjj7Fo0Ha1kU0U1lMmju7HrygmrvfNA=,183qmtaUIq2grE+r/g5y02u9kLPbZbBWsNvLZVqXc54=
scram-sha-1 pencil
{SCRAM-SHA-1}4096,dFEv7dn+WVYXvOSfGHSzLw==,o6yUDnzNSmKZ63K5C85j/LMIx9o=,RIDkJZpyzx1eePi48rtVnoRnwbY=
plain pencil
{PLAIN}pencil
plain pencil
{CLEARTEXT}pencil
plain pencil
{PLAIN.B64}cGVuY2ls
"""


def known() -> list[tuple[str, str, str]]:
    """The scheme, the password, and what is kept."""
    lines = [line for line in KNOWN.splitlines() if line and not line.startswith("#")]
    return [
        (*told.split(maxsplit=1), kept)  # type: ignore[misc]  # into two parts
        for told, kept in zip(lines[::2], lines[1::2], strict=True)
    ]


DOVEADM = pytest.mark.skipif(not shutil.which("doveadm"), reason="Dovecot is not installed")
OPENSSL = pytest.mark.skipif(not shutil.which("openssl"), reason="OpenSSL is not installed")


def written_by(*arguments: str) -> str:
    finished = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    return finished.stdout.strip()


# -- What is known ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "password", "text"), known())
def test_a_known_hash(scheme: str, password: str, text: str) -> None:
    kept = HashedPassword.parse(text)
    assert kept.scheme == scheme
    assert kept.verify(password)
    assert not any(map(kept.verify, ("", password + "x", password[:-1], password.swapcase())))


def test_every_scheme_is_known_by_a_hash() -> None:
    assert {scheme for scheme, _, _ in known()} == SCHEMES.keys()


@pytest.mark.parametrize(
    ("digest", "name", "dialogue"),
    [
        # RFC 5802, 5: the client's first message without its header, the server's first, the
        # client's last without its proof, the proof, and the server's signature.
        (
            "sha1",
            "SCRAM-SHA-1",
            """n=user,r=fyko+d2lbbFgONRv9qkxdawL
            r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096
            c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j
            v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=
            rmF9pqV8S7suAoZWja4dJRkFsKQ=""",
        ),
        # RFC 7677, 3, in the same manner.
        (
            "sha256",
            "SCRAM-SHA-256",
            """n=user,r=rOprNGfwEbeRWgbNEkqO
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0
            dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=
            6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=""",
        ),
    ],
    ids=["sha1", "sha256"],
)
def test_scram_keys_fit_the_dialogue_of_the_standard(digest: str, name: str, dialogue: str) -> None:
    *messages, proof, signature = (line.strip() for line in dialogue.splitlines())
    transcript = ",".join(messages).encode()
    salt = messages[1].split(",s=")[1].partition(",")[0]
    salted = hashlib.pbkdf2_hmac(digest, b"pencil", b64decode(salt), 4096)
    server_key = hmac.digest(salted, b"Server Key", digest)
    assert hmac.digest(server_key, transcript, digest) == b64decode(signature)
    client_key = hmac.digest(salted, b"Client Key", digest)
    stored_key = hashlib.new(digest, client_key).digest()
    mask = hmac.digest(stored_key, transcript, digest)
    assert bytes(a ^ b for a, b in zip(client_key, mask, strict=True)) == b64decode(proof)

    keys = ":".join(b64encode(key).decode() for key in (stored_key, server_key))
    kept = HashedPassword.parse(f"{name}$4096:{salt}${keys}")
    assert isinstance(kept.secret, ScramKeys)
    assert kept.secret.server_key == server_key
    assert kept.verify("pencil")
    assert not kept.verify("pencils")


# -- What other programs write and read ------------------------------------------------------------


@OPENSSL
@pytest.mark.parametrize("option", ["-1", "-5", "-6"])
def test_what_openssl_writes(option: str) -> None:
    kept = HashedPassword.parse(written_by("openssl", "passwd", option, "pencil and päper"))
    assert kept.verify("pencil and päper")
    assert not kept.verify("pencil and paper")


@DOVEADM
@pytest.mark.parametrize(
    "label",
    ["ARGON2ID", "ARGON2I", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "CRYPT",
     "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "CLEAR", "CLEARTEXT", "PLAIN.b64"],
)  # fmt: skip
def test_what_dovecot_writes(label: str) -> None:
    kept = HashedPassword.parse(written_by("doveadm", "pw", "-s", label, "-p", "päncil"))
    assert kept.verify("päncil")
    assert not kept.verify("pencil")


@DOVEADM
@pytest.mark.parametrize(
    ("scheme", "label"),
    [
        ("argon2id", "{ARGON2ID}"),
        ("bcrypt", "{BLF-CRYPT}"),
        ("sha512-crypt", "{SHA512-CRYPT}"),
        ("plain", ""),
    ],
)
def test_what_dovecot_reads(scheme: str, label: str) -> None:
    for password in ("pencil", "päncil: #1"):
        kept = label + HashedPassword.make(password, scheme)
        assert "(verified)" in written_by("doveadm", "pw", "-t", kept, "-p", password)


# -- New ones --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", FOR_NEW)
def test_a_new_one_is_read_again(scheme: str) -> None:
    text = HashedPassword.make("pencil #1: é", scheme)
    assert text != HashedPassword.make("pencil #1: é", scheme) or scheme == "plain"
    kept = HashedPassword.parse(text)
    assert kept.scheme == scheme
    assert kept.verify("pencil #1: é")
    assert not kept.verify("pencil #1: e")


@pytest.mark.parametrize("scheme", FOR_NEW)
def test_passwords_are_kept_in_the_form_of_saslprep(scheme: str) -> None:
    # RFC 4013, 3: a soft hyphen is mapped to nothing, and the sign for 9 in Roman to two letters.
    assert HashedPassword.parse(HashedPassword.make("I\u00adX\u2168", scheme)).verify("IXIX")


@pytest.mark.parametrize(
    ("password", "scheme", "complaint"),
    [
        ("", "scrypt", "it is empty"),
        ("\u00ad", "scrypt", "it is empty"),
        ("bell\7", "scrypt", "prohibited"),
        ("x" * (PASSWORD_LIMIT + 1), "plain", "it is longer than 1024 octets"),
        ("ä" * 37, "bcrypt", "it is longer than 72 octets, and bcrypt knows of no more"),
        ("x" * 513, "sha512-crypt", "may be too long"),
        ("pencil", "md5-crypt", "'md5-crypt' is no scheme for new passwords: argon2id, scrypt"),
        ("pencil", "rot13", "'rot13' is no scheme for new passwords"),
    ],
)
def test_what_cannot_be_kept(password: str, scheme: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        HashedPassword.make(password, scheme)
    assert not password.strip() or password not in str(raised.value)


@pytest.mark.parametrize(
    ("password", "text"),
    [
        ("pencil#1", "{PLAIN}pencil#1"),
        ("{x}", "{PLAIN}{x}"),
        ("a:b", "{PLAIN.b64}YTpi"),
        ("a #b", "{PLAIN.b64}YSAjYg=="),
        ("é", "{PLAIN.b64}w6k="),
    ],
)
def test_a_plain_secret_is_written_so_that_a_file_can_hold_it(password: str, text: str) -> None:
    assert HashedPassword.make(password, "plain") == text
    assert HashedPassword.parse(text).secret == PlainSecret(password)


# -- What is refused -------------------------------------------------------------------------------

_KEYS = f"{b64encode(bytes(32)).decode()}:{b64encode(bytes(32)).decode()}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is no hash that is known here"),
        ("pencil", "it is no hash that is known here"),
        ("{SSHA512}cGVuY2ls", "it is no hash that is known here"),
        ("{PBKDF2}$1$IKuV630UmWhJxLGd$5000$f6d5", "it is no hash that is known here"),
        ("{BLF-CRYPT}$6$x$" + "x" * 86, "it is no hash that is known here"),
        ("$2b$03$" + "x" * 53, "it is no hash that is known here"),
        ("$2b$10$" + "x" * 52, "it is no hash that is known here"),
        ("$6$saltstring$short", "it is no hash that is known here"),
        ("!$6$saltstring$" + "x" * 86, "it is no hash that is known here"),
        ("x" * 13, "it is no hash that is known here"),  # crypt(3) of 1979 cut them to 8 letters
        ("$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65", "it is no hash that is known here"),
        ("$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$nf65", "takes more than 1024 MiB to check"),
        ("$scrypt$ln=21,r=8,p=1$U29kaXVt$U29kaXVt", "it takes more than 1024 MiB to check"),
        ("$scrypt$ln=0,r=8,p=1$U29kaXVt$U29kaXVt", "scrypt cannot have these parameters"),
        ("$scrypt$ln=4,r=8,p=1$U29kaXVtQ$U29k", "it is not base64"),
        (f"SCRAM-SHA-256$4095:c2FsdA==${_KEYS}", "SCRAM keys of 4095 rounds are of no use"),
        (f"SCRAM-SHA-256$10000001:c2FsdA==${_KEYS}", "keys of 10000001 rounds are of no use"),
        (f"SCRAM-SHA-1$4096:c2FsdA==${_KEYS}", "SCRAM cannot have these keys"),
        (f"SCRAM-SHA-512$4096:c2FsdA==${_KEYS}", "it is no hash that is known here"),
        ("{PLAIN}", "the secret is empty"),
        ("{PLAIN}bell\7", "it holds a character that is prohibited"),
        ("{PLAIN.b64}pencil", "the secret is not UTF-8"),
        ("{PLAIN.b64}penci", "it is not base64"),
    ],
)
def test_what_is_no_hash(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        HashedPassword.parse(text)


@given(st.text(), st.text())
def test_of_any_text_nothing_is_repeated(before: str, behind: str) -> None:
    text = f"{before}\N{KEY}{behind}"
    for spelled in (text, f"{{PLAIN}}{text}", f"{{PLAIN.b64}}{text}", f"$scrypt$ln=4,{text}"):
        try:
            told = repr(HashedPassword.parse(spelled))
        except ValueError as error:
            told = "".join(traceback.format_exception(error))
        assert "\N{KEY}" not in told


@pytest.mark.parametrize("text", [text for _, _, text in known()])
def test_nothing_of_it_is_shown(text: str) -> None:
    kept = HashedPassword.parse(text)
    assert repr(kept) == f"HashedPassword(scheme={kept.scheme!r}, effort={kept.effort!r})"


@pytest.mark.parametrize("text", [text for _, _, text in known()])
def test_what_is_no_password_is_wrong(text: str) -> None:
    kept = HashedPassword.parse(text)
    for password in ("", "pencil\0", "\0", "bell\7", "x" * (PASSWORD_LIMIT + 1), "ä" * 600):
        assert not kept.verify(password)


@pytest.mark.parametrize("password", ["", "x" * (PASSWORD_LIMIT + 1)])
def test_what_is_no_password_is_wrong_even_if_it_was_hashed(password: str) -> None:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    assert not HashedPassword.parse(hasher.hash(password)).verify(password)


def test_bcrypt_cuts_what_it_checks() -> None:
    kept = HashedPassword.parse(HashedPassword.make("x" * 72, "bcrypt"))
    assert kept.verify("x" * 80)
    assert not kept.verify("x" * 71)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$2b$10$" + "x" * 53, "$2b$11$" + "x" * 53),
        ("$6$salt$" + "x" * 86, "$6$rounds=9999$salt$" + "x" * 86),
        ("$scrypt$ln=4,r=8,p=1$U29k$U29k", "$scrypt$ln=4,r=8,p=2$U29k$U29k"),
        (f"SCRAM-SHA-256$4096:c2FsdA==${_KEYS}", f"SCRAM-SHA-256$5000:c2FsdA==${_KEYS}"),
        ("$argon2id$v=19$m=256,t=2,p=1$U29k$U29k", "$argon2id$v=19$m=256,t=3,p=1$U29k$U29k"),
    ],
)
def test_the_effort_tells_what_a_check_costs(one: str, other: str) -> None:
    assert HashedPassword.parse(one).effort != HashedPassword.parse(other).effort
    assert HashedPassword.parse(one).effort == HashedPassword.parse(one.replace("x", "y")).effort


def test_threads_do_not_get_in_each_others_way() -> None:
    passwords = [f"password {number}" for number in range(16)]
    settings = ["$6$rounds=1000$salt", "$5$rounds=1000$salt", "$1$salt"]
    hashes = [
        libcrypt.crypt(password.encode(), settings[number % len(settings)])
        for number, password in enumerate(passwords)
    ]
    with ThreadPoolExecutor(8) as executor:
        for _ in range(20):
            kept = map(HashedPassword.parse, hashes)
            assert all(executor.map(HashedPassword.verify, kept, passwords))


# -- What is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("argon2", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR"),
        ("bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ],
)
def test_a_missing_package_is_named(
    package: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    complaint = rf"it needs the package {package}: pip install 'gatepost\[auth\]'"
    with pytest.raises(ValueError, match=complaint):
        HashedPassword.parse(text)
    with pytest.raises(ValueError, match=complaint):
        HashedPassword.make("pencil", {"argon2": "argon2id"}.get(package, package))


def test_without_argon2_new_ones_are_of_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HashedPassword.make("pencil").startswith("$argon2id$")
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert HashedPassword.make("pencil").startswith("$scrypt$")


@pytest.fixture
def no_libcrypt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(libcrypt, "NAMES", ("libnothing.so",))
    for cached in (libcrypt.crypt_r, libcrypt.check_method):
        cached.cache_clear()
    yield
    libcrypt.crypt_r.cache_clear()


@pytest.mark.usefixtures("no_libcrypt")
def test_a_missing_libcrypt_is_told() -> None:
    with pytest.raises(ValueError, match="needs the library libcrypt, which is not on this system"):
        HashedPassword.parse("$6$salt$" + "x" * 86)


def test_a_method_that_libcrypt_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libcrypt.PROBES, "$9$", "$9$nobody$knows")
    with pytest.raises(ValueError, match=r"the system's libcrypt does not know \$9\$"):
        libcrypt.check_method("$9$")
