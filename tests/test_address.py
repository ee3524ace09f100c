"""Address against RFC 5321, 4.1.2 and the attacks that hide in envelopes."""

from __future__ import annotations

import pytest

from gatepost.address import Address, InvalidAddress

SYNTAX = "5.1.3"
NEEDS_SMTPUTF8 = "5.6.7"


def refusal(text: str, *, utf8: bool = False) -> str:
    """The status with which a path is refused."""
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(text, utf8=utf8)
    assert str(caught.value).isprintable()
    return caught.value.status


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("anne@client.example", "anne", "client.example"),
        ("Anne@Client.Example", "Anne", "Client.Example"),
        ("a.b.c@x", "a.b.c", "x"),
        ("user@localhost", "user", "localhost"),
        ("user@1.2.3.4", "user", "1.2.3.4"),
        ("u@xn--bcher-kva.ch", "u", "xn--bcher-kva.ch"),
        ("!#$%&'*+-/=?^_`{|}~@x.example", "!#$%&'*+-/=?^_`{|}~", "x.example"),
        ('"a b"@x.example', "a b", "x.example"),
        (r'"a\"b\\c"@x.example', r'a"b\c', "x.example"),
        (r'"\a\@"@x.example', "a@", "x.example"),
        ('"anne"@x.example', "anne", "x.example"),
        ('""@x.example', "", "x.example"),
        ('"<a>,;:"@x.example', "<a>,;:", "x.example"),
        ("u@[192.0.2.1]", "u", "[192.0.2.1]"),
        ("u@[IPv6:::1]", "u", "[IPv6:::1]"),
        ("u@[ipv6:2001:db8::1]", "u", "[ipv6:2001:db8::1]"),
        ("u@[IPv6:::ffff:192.0.2.1]", "u", "[IPv6:::ffff:192.0.2.1]"),
        ("postmaster", "postmaster", ""),
        ("PostMaster", "PostMaster", ""),
        ("", "", ""),
    ],
)
def test_a_path_and_its_parts(text: str, local: str, domain: str) -> None:
    address = Address.parse(text)
    assert (address.local, address.domain) == (local, domain)


@pytest.mark.parametrize(
    "text",
    [
        # no mailbox
        "abuse", "user", "user@", "@example.com", "@", "@@", '"', '""', '"a', '"a"', '"a"@',
        '"postmaster"', "post.master", "postmaster@", " ",
        # local parts
        ".foo@x.com", "foo.@x.com", "foo..bar@x.com", "foo bar@x.com", " user@x.com",
        "(b)@x.com", "a(b)@x.com", "a<b@x.com", "<a@x.com>", "<<a@x.com>>", 'a"b"@x.com',
        '"a"b@x.com', 'a"b@x.com', r"a\b@x.com", "a,b@x.com", "a;b@x.com", "a:b@x.com", "[a]@x.com",
        r'"a\"@x.com', '"a"c"@x.com', '"a"."b"@x.com', '"a" @x.com',
        # domains
        "u@example.com.", "u@.a", "u@a..b", "u@.", "u@-a.com", "u@a-.com", "u@a.-b", "u@a_b.com",
        "u@example.com ", "u@ example.com", "u@a b.com", "u@a/b", "u@a>b", "u@x;rm", "u@x.com#",
        "a@x.com>foo", "u@x(c).com", 'u@"x"', "u@x,y", "u@x\\y",
        # literals
        "u@[]", "u@[1.2.3.4]x", "u@[1.2.3.4", "u@1.2.3.4]", "u@[1.2.3]", "u@[1.2.3.4.5]", "u@[",
        "u@[999.1.1.1]", "u@[01.2.3.4]", "u@[1.2.3.4/8]", "u@[ 1.2.3.4]", "u@[tag:foo]", "u@[::1]",
        "u@[IPv6:]", "u@[IPv6:1.2.3.4]", "u@[IPv6:::1%eth0]", "u@[IPv6:::g]", "u@[[1.2.3.4]]",
        "u@[IPv6 :::1]", "u@a.[1.2.3.4]",
    ],
)  # fmt: skip
def test_no_path(text: str) -> None:
    assert refusal(text) == SYNTAX
    assert refusal(text, utf8=True) == SYNTAX


class TestRoutes:
    """Source routes are read and dropped (RFC 5321, 3.3 and appendix C)."""

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("@a:postmaster@test", "postmaster@test"),
            ("@local.example:victim@remote.example", "victim@remote.example"),
            ("@a,@b.example,@c:v@remote", "v@remote"),
            ('@a:"b:c,@d"@e', '"b:c,@d"@e'),
            ("@a:v@[IPv6:::1]", "v@[IPv6:::1]"),
        ],
    )
    def test_dropped(self, text: str, meant: str) -> None:
        assert Address.parse(text) == Address.parse(meant)

    @pytest.mark.parametrize(
        "text",
        [
            "@a:", "@a", "@:u@x", "@a,:u@x", "@a,b:u@x", "@a,,@b:u@x", "@a, @b:u@x", "@a.:u@x",
            "@a:postmaster", "@a:@b:u@x", "@a@b:u@x", "@a_b:u@x", "@[1.2.3.4]:u@x", "@192.168.1.1",
            "@a:u", "@a: u@x", "a:u@x",
        ],
    )  # fmt: skip
    def test_malformed(self, text: str) -> None:
        assert refusal(text) == SYNTAX

    def test_international(self) -> None:
        assert Address.parse("@bücher.example:u@x", utf8=True) == Address("u", "x")
        assert refusal("@bücher.example:u@x") == NEEDS_SMTPUTF8
        assert refusal("@bü_cher.example:u@x", utf8=True) == SYNTAX


class TestAttacks:
    """The rows of the catalogue of attacks that a parser has to answer."""

    @pytest.mark.parametrize(
        ("text", "local"),
        [
            ("victim%remote@local", "victim%remote"),
            ("remote!victim@local", "remote!victim"),
            ('"victim@remote"@local', "victim@remote"),
            ("=?x?q?a=40b=3e=00?=@local", "=?x?q?a=40b=3e=00?="),
            ("../../etc/cron.d/x@local", None),
            ('"../../etc/cron.d/x"@local', "../../etc/cron.d/x"),
            ("a/b@local", "a/b"),
            (";id;@local", None),
            ('";id;"@local', ";id;"),
            ("|cmd@local", "|cmd"),
            ("-x@local", "-x"),
            (":include:@local", None),
            (".@local", None),
            ("..@local", None),
            ("user+../x@local", None),
            ("user+x/y@local", "user+x/y"),
        ],
    )
    def test_a_local_part_is_opaque(self, text: str, local: str | None) -> None:
        if local is None:
            assert refusal(text) == SYNTAX
        else:
            assert Address.parse(text) == Address(local, "local")

    @pytest.mark.parametrize(
        "text",
        [
            "remote!victim", '"victim@remote"', '"v%remote"', "victim@remote@local",
            "foo@bar@example.com", "victim@remote.", "a@b@", "@b@c",
        ],
    )  # fmt: skip
    def test_one_at_sign_and_a_domain(self, text: str) -> None:
        assert refusal(text) == SYNTAX

    @pytest.mark.parametrize("octet", [*map(chr, range(0x20)), "\x7f"])
    @pytest.mark.parametrize(
        "path", ["a{}b@x", '"a{}b"@x', '"a\\{}b"@x', "a@x{}y", "a@x{}", "{}a@x"]
    )
    def test_no_control_character_anywhere(self, path: str, octet: str) -> None:
        assert refusal(path.format(octet)) == SYNTAX
        assert refusal(path.format(octet), utf8=True) == SYNTAX

    def test_no_command_in_a_local_part(self) -> None:
        assert refusal('"a\r\nRCPT TO:<b>"@local') == SYNTAX
        assert refusal("a\rX: y@b") == SYNTAX

    @pytest.mark.parametrize(
        "text",
        ["u" * 1_000_000 + "@x", "u@" + "a." * 500_000, "u@" + "a-" * 500_000, "." * 1_000_000,
         '"' + "\\a" * 500_000, "@a," * 300_000, "@" * 1_000_000, "ü" * 1_000_000 + "@x"],
        ids=["local", "labels", "hyphens", "dots", "pairs", "route", "at signs", "utf-8"],
    )  # fmt: skip
    @pytest.mark.timeout(5)
    def test_a_megabyte_is_refused_at_once(self, text: str) -> None:
        assert refusal(text, utf8=True) == SYNTAX


LABEL = "a" * 63


@pytest.mark.parametrize(
    ("longest", "longer"),
    [
        ("a" * 64 + "@x", "a" * 65 + "@x"),
        ('"' + " " * 62 + '"@x', '"' + " " * 63 + '"@x'),
        ('"' + r"\"" * 31 + '"@x', '"' + r"\"" * 32 + '"@x'),
        ("ü" * 32 + "@x", "ü" * 32 + "a@x"),
        (f"u@{LABEL}.x", f"u@{LABEL}a.x"),
        (f"u@x.{LABEL}", f"u@x.{LABEL}a"),
        (f"u@{'.'.join([LABEL] * 3)}.{'a' * 60}", f"u@{'.'.join([LABEL] * 3)}.{'a' * 61}"),
        (f"@{'a.' * 124}a:u@x", f"@{'a.' * 124}aa:u@x"),
        (f"ü@x.{LABEL}", f"ü@x.{LABEL}a"),
    ],
    ids=["local", "quoted", "pairs", "octets", "label", "last label", "path", "route", "utf-8"],
)
def test_limits(longest: str, longer: str) -> None:
    Address.parse(longest, utf8=True)
    assert refusal(longer, utf8=True) == SYNTAX


def test_a_long_utf8_path_counts_octets() -> None:
    domain = ".".join(["ü" * 20] * 5)
    assert Address.parse(f"{'ü' * 24}a@{domain}", utf8=True).domain == domain
    assert refusal(f"{'ü' * 25}@{domain}", utf8=True) == SYNTAX
