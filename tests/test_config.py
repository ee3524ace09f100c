"""The configuration: what it says, and every complaint with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config import (
    Config,
    ConfigError,
    Dns,
    Listen,
    SocketAddress,
    load_config,
    own_hostname,
    parse_config,
)
from gatepost.config.locator import Locator, Place
from gatepost.hooks.loader import options_of
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits

PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
from gatepost import Plugin

@dataclass
class Dnsbl(Plugin):
    zones: tuple[str, ...]
    wait: float = 5.0
    where: Path = Path("mail")
"""

LISTEN = '[[listen]]\naddress = "127.0.0.1:2525"\n'

Parse = Callable[[str], Config]
Told = Callable[[str], list[str]]


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    """Reads a configuration beside a directory with one plugin."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "dnsbl.py").write_text(PLUGIN)
    return lambda text: parse_config(dedent(text), path=tmp_path / "gatepost.toml")


@pytest.fixture
def told(parse: Parse, tmp_path: Path) -> Told:
    """The complaints about a configuration, without its directory."""

    def tell(text: str) -> list[str]:
        with pytest.raises(ConfigError) as error:
            parse(text)
        prefix = f"{tmp_path}/gatepost.toml:"
        assert all(complaint.startswith(prefix) for complaint in error.value.complaints)
        return [complaint.removeprefix(prefix) for complaint in error.value.complaints]

    return tell


# -- Sound configurations -------------------------------------------------------------------------


def test_a_whole_configuration(parse: Parse, tmp_path: Path) -> None:
    config = parse("""\
        hostname = "mx.example.org"
        plugin_directories = ["plugins"]
        stray_line_ends = "repair"

        [[listen]]
        name = "mx"
        address = "[::]:25"

        [[listen]]
        address = "unix:run/lmtp.sock"
        protocol = "lmtp"
        tls = "off"

        [limits]
        recipients = 500
        message_size = 0
        data_timeout = 60

        [dns]
        servers = ["127.0.0.1:5353", "::1", "[::1]:53"]

        [[plugin]]
        use = "dnsbl"
        zones = ["a.example"]
        listeners = ["mx"]

        [[plugin]]
        use = "dnsbl"
        name = "second"
        zones = []
        where = "here"
        """)
    assert config.hostname == "mx.example.org"
    assert config.plugin_directories == (tmp_path / "plugins",)
    assert config.stray_line_ends == "repair"
    assert config.listen == (
        Listen("[::]:25", "mx"),
        Listen(f"unix:{tmp_path}/run/lmtp.sock", "unix:run/lmtp.sock", "lmtp"),
    )
    assert config.limits == Limits(recipients=500, message_size=0, data_timeout=60.0)
    assert config.dns == Dns(("127.0.0.1:5353", "::1", "[::1]:53"))
    assert config.directory == tmp_path
    (first, placed), (second, placed_second) = config.plugins
    assert placed == Placement("dnsbl", "dnsbl", listeners=("mx",))
    assert placed_second == Placement("dnsbl", "second")
    assert vars(first)["zones"] == ("a.example",)
    assert vars(second)["where"] == tmp_path / "here"


def test_a_small_configuration(parse: Parse, tmp_path: Path) -> None:
    config = parse(LISTEN)
    assert config == Config(
        listen=(Listen("127.0.0.1:2525", "smtp"),),
        hostname=own_hostname(),
        directory=tmp_path,
        state=tmp_path / "state",
    )
    assert config.limits == Limits()


def test_the_only_listener_is_called_after_its_protocol(parse: Parse) -> None:
    config = parse(LISTEN + 'protocol = "lmtp"')
    assert [listener.name for listener in config.listen] == ["lmtp"]


def test_any_port_may_be_asked_for_twice(parse: Parse) -> None:
    config = parse("""\
        [[listen]]
        address = "127.0.0.1:0"
        name = "a"
        [[listen]]
        address = "127.0.0.1:0"
        name = "b"
        """)
    assert len(config.listen) == 2


def test_environment_variables_in_paths(
    parse: Parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "plugins")
    config = parse(f"""\
        plugin_directories = ["$WHERE", "{tmp_path}/${{WHERE}}"]
        [[listen]]
        address = "unix:$WHERE/socket"
        """)
    assert config.plugin_directories == (tmp_path / "plugins",) * 2
    assert config.listen[0].socket_address.path == tmp_path / "plugins" / "socket"


def test_a_file_with_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LISTEN.replace("\n", "\r\n").encode())
    assert load_config(path).listen == (Listen("127.0.0.1:2525"),)


def test_every_setting_has_a_meaning() -> None:
    for kind in (Config, Listen, Limits, Dns):
        assert [option.name for option in options_of(kind) if not option.meaning] == []


# -- Files that cannot be read --------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "none.toml")
    assert str(error.value) == (
        f"{tmp_path}/none.toml: there is no such file; `gatepost init` writes a first configuration"
    )


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path)
    assert str(error.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_bytes(b'hostname = "x"\n# \xff\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value) == f"{path}:2: not UTF-8"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hostname = \n", "1: Invalid value"),
        ('\n\nhostname "x"', "3: Expected '=' after a key in a key/value pair"),
        ("[limits]\n[limits]\n", "2: Cannot declare ('limits',) twice"),
        ("a = [\n1,\n\n", "2: Invalid value"),
        ('a = """x\n\n', "1: Unterminated string"),
    ],
)
def test_bad_syntax(told: Told, text: str, complaint: str) -> None:
    assert told(text) == [complaint]


def test_endless_nesting(parse: Parse, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        parse("a = " + "[" * 100_000)
    assert str(error.value) == f"{tmp_path}/gatepost.toml: lists or tables are nested too deep"


# -- Complaints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("", [' no [[listen]] table: write one with address = "127.0.0.1:2525"']),
        ("listen = []", ['1: no [[listen]] table: write one with address = "127.0.0.1:2525"']),
        ("listen = 5", ["1: option 'listen' must be a list of tables, not 5"]),
        ('hostnam = "x"\n' + LISTEN, ["1: unknown option 'hostnam', did you mean 'hostname'?"]),
        (LISTEN + "[[plugins]]", ["3: unknown option 'plugins', did you mean 'plugin'?"]),
        (LISTEN + "[qqqq]\nx = 1", ["3: unknown option 'qqqq'"]),
        ("hostname = 5\n" + LISTEN, ["1: option 'hostname' must be a string, not 5"]),
        (
            'stray_line_ends = "accept"\n' + LISTEN,
            ["1: option 'stray_line_ends' must be 'refuse' or 'repair', not 'accept'"],
        ),
        (
            LISTEN + "[plugin]\nuse = 1",
            ["3: option 'plugin' must be a list of tables, not a table"],
        ),
    ],
)
def test_complaints_about_the_first_level(told: Told, text: str, complaints: list[str]) -> None:
    assert told(text) == complaints


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\\nb", "-a.example", "a..example", "münchen.example", "[1.2.3]", "a" * 64],
)
def test_a_hostname_must_fit_in_a_banner(told: Told, name: str) -> None:
    (complaint,) = told(f'hostname = "{name}"\n{LISTEN}')
    assert complaint.startswith(
        "1: option 'hostname' must be a domain in ASCII, or an address in brackets, not "
    )


@pytest.mark.parametrize("name", ["localhost", "mx-1.example.org", "[192.0.2.1]", "[IPv6:::1]"])
def test_a_good_hostname(parse: Parse, name: str) -> None:
    assert parse(f'hostname = "{name}"\n{LISTEN}').hostname == name


def test_the_machines_own_name_fits_in_a_banner(parse: Parse) -> None:
    assert parse(f'hostname = "{own_hostname()}"\n{LISTEN}').hostname == own_hostname()


def test_a_plugin_directory_must_exist(told: Told, tmp_path: Path) -> None:
    assert told('plugin_directories = [\n"plugins",\n"none"]\n' + LISTEN) == [
        f"1: option 'plugin_directories': {tmp_path}/none is no directory"
    ]


ADDRESS = "listen: option 'address' must be an IP address with a port, 127.0.0.1:2525 or [::]:25, "


@pytest.mark.parametrize(
    ("table", "complaints"),
    [
        ('name = "mx"', ["1: listen: option 'address' is missing (a string)"]),
        ("address = 25", ["2: listen: option 'address' must be a string, not 25"]),
        (
            'address = "127.0.0.1"',
            [f"2: {ADDRESS}or unix:/run/gatepost.sock, not '127.0.0.1'"],
        ),
        (
            'address = "localhost:25"',
            [f"2: {ADDRESS}or unix:/run/gatepost.sock, not 'localhost:25'"],
        ),
        ('address = "::1:25"', [f"2: {ADDRESS}or unix:/run/gatepost.sock, not '::1:25'"]),
        (
            'address = "[127.0.0.1]:25"',
            [f"2: {ADDRESS}or unix:/run/gatepost.sock, not '[127.0.0.1]:25'"],
        ),
        (
            'address = "127.0.0.1:65536"',
            ["2: listen: option 'address' must have a port up to 65535, not 65536"],
        ),
        ('address = "unix:"', ["2: listen: option 'address' must be a path, not ''"]),
        (
            f'address = "unix:/{"x" * 107}"',
            ["2: listen: option 'address' must have a path of 1 to 107 octets behind unix:"],
        ),
        (
            'address = "127.0.0.1:25"\ntls = "starttls"',
            [
                "3: listen: option 'tls': \"starttls\" needs a table [tls] with a certificate; "
                "`gatepost init --tls` makes one to try with"
            ],
        ),
        (
            'address = "127.0.0.1:25"\nrequire_tls = true',
            ["3: listen: option 'require_tls' needs tls = \"starttls\""],
        ),
        (
            'address = "127.0.0.1:25"\nproxy_protocol_from = ["10.0.0.1/8"]',
            [
                "3: listen: option 'proxy_protocol_from' must be of networks, 10.0.0.0/8 or "
                "192.0.2.1, or unix for clients on a Unix socket, not '10.0.0.1/8': 10.0.0.1/8 has "
                "host bits set"
            ],
        ),
        (
            'address = "127.0.0.1:25"\ntls = "on"',
            ["3: listen: option 'tls' must be 'off', 'starttls' or 'implicit', not 'on'"],
        ),
        (
            'adress = "127.0.0.1:25"\nprotocol = "http"',
            [
                "1: listen: option 'address' is missing (a string)",
                "2: listen: unknown option 'adress', did you mean 'address'?",
                "3: listen: option 'protocol' must be 'smtp' or 'lmtp', not 'http'",
            ],
        ),
        (
            'address = "127.0.0.1:25"\nname = "a\\u001b"',
            ["3: listen: option 'name' must be of printable characters"],
        ),
    ],
)
def test_complaints_about_a_listener(told: Told, table: str, complaints: list[str]) -> None:
    assert told("[[listen]]\n" + table) == complaints


def test_listeners_of_one_name_or_address(told: Told) -> None:
    assert told("""\
        [[listen]]
        address = "127.0.0.1:25"
        name = "mx"
        [[listen]]
        address = "127.0.0.1:26"
        name = "mx"
        [[listen]]
        address = "127.0.0.1:25"
        """) == [
        "6: listen: two listeners are called 'mx': give one another name",
        "8: listen: two listeners have the address 127.0.0.1:25",
    ]


def test_listeners_of_one_address_that_is_spelt_in_two_ways(told: Told) -> None:
    assert told("""\
        [[listen]]
        address = "[::1]:25"
        name = "a"
        [[listen]]
        address = "[0::1]:25"
        name = "b"
        """) == ["5: listen: two listeners have the address [::1]:25"]


@pytest.mark.parametrize(
    ("table", "complaints"),
    [
        (
            "recipients = 99\nline = 511\n",
            [
                "4: limits: recipients: never fewer than 100 (RFC 5321, 4.5.3.1.8)",
                "5: limits: line: never fewer than 512 (RFC 5321, 4.5.3.1.4)",
            ],
        ),
        ("recipient = 1000", ["4: limits: unknown option 'recipient', did you mean 'recipients'?"]),
        ('errors = "20"', ["4: limits: option 'errors' must be a whole number, not a string"]),
        (
            f"errors = 0x{'f' * 5000}",
            [
                "4: limits: option 'errors' must be a whole number, "
                "not a number of more than 64 bits"
            ],
        ),
        ("errors = -1", ["4: limits: option 'errors' must be 0 or more, not -1"]),
        ("connections = 0", ["4: limits: option 'connections' must be more than 0, not 0"]),
        ("data_timeout = 0.0", ["4: limits: option 'data_timeout' must be more than 0, not 0.0"]),
        ("data_timeout = nan", ["4: limits: option 'data_timeout' must be a number, not nan"]),
        (
            "message_size = true",
            ["4: limits: option 'message_size' must be a whole number, not true"],
        ),
    ],
)
def test_complaints_about_limits(told: Told, table: str, complaints: list[str]) -> None:
    assert told(f"{LISTEN}[limits]\n{table}") == complaints


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1:", "unix:/x", "127.0.0.1:65536", ""])
def test_complaints_about_dns(told: Told, server: str) -> None:
    assert told(f'{LISTEN}[dns]\nservers = [\n"{server}"]') == [
        "4: dns: option 'servers' must be of IP addresses, with or without a port: "
        f"127.0.0.1 or [::1]:5353, not {server!r}"
    ]


def test_complaints_about_plugins(told: Told) -> None:
    assert told("""\
        plugin_directories = ["plugins"]
        [[listen]]
        name = "mx"
        address = "127.0.0.1:2525"

        [[plugin]]
        use = "dnsbl"

        [[plugin]]
        use = "dnsbl"
        name = "two"
        zones = [
          "a",
          5,
        ]
        timout = 5

        [[plugin]]
        name = "three"
        listeners = ["mx", "mx1"]
        use = "dnsbl"
        zones = []

        [[plugin]]
        use = "dnsbll"

        [[plugin]]
        """) == [
        "6: dnsbl: option 'zones' is missing (a list of strings)",
        "12: two: option 'zones': item 2 must be a string, not 5",
        "16: two: unknown option 'timout', did you mean 'timeout'?",
        "20: three: there is no listener 'mx1', did you mean 'mx'?",
        "25: no plugin 'dnsbll', did you mean 'dnsbl'?",
        "27: plugin: option 'use' is missing (a string)",
    ]


def test_two_plugins_of_one_name(told: Told) -> None:
    assert told("""\
        plugin_directories = ["plugins"]
        [[listen]]
        address = "127.0.0.1:2525"
        [[plugin]]
        use = "dnsbl"
        zones = []
        [[plugin]]
        use = "dnsbl"
        zones = []
        [[plugin]]
        use = "dnsbl"
        zones = []
        name = "dnsbl"
        """) == [
        '7: dnsbl: two plugins are called that: give one another name, as in name = "dnsbl-2"',
        '13: dnsbl: two plugins are called that: give one another name, as in name = "dnsbl-2"',
    ]


def test_listeners_that_are_wrong_themselves_are_not_missed(told: Told) -> None:
    assert told("""\
        plugin_directories = ["plugins"]
        [[listen]]
        name = "mx"
        address = "nowhere"
        [[listen]]
        name = "my"
        address = "127.0.0.1:25"
        [[plugin]]
        use = "dnsbl"
        zones = []
        listeners = ["mx"]
        """) == [f"4: {ADDRESS}or unix:/run/gatepost.sock, not 'nowhere'"]


def test_everything_is_complained_of_at_once(told: Told) -> None:
    assert told("""\
        hostname = "a b"
        colour = "red"
        [[listen]]
        address = "x:25"
        [limits]
        line = 1
        [dns]
        server = []
        [[plugin]]
        use = "../x"
        """) == [
        "1: option 'hostname' must be a domain in ASCII, or an address in brackets, not 'a b'",
        "2: unknown option 'colour'",
        f"4: {ADDRESS}or unix:/run/gatepost.sock, not 'x:25'",
        "6: limits: line: never fewer than 512 (RFC 5321, 4.5.3.1.4)",
        "8: dns: unknown option 'server', did you mean 'servers'?",
        "10: '../x' is no plugin's name: write a bundled one, a file's or package.module:Class",
    ]


@given(st.text(alphabet=st.sampled_from("[]{}=\"'#.,\n \\ab01lims") | st.characters(), max_size=60))
def test_any_text_is_complained_of(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(f"listen = 5\n{text}", path=Path("/nowhere/gatepost.toml"))
    assert error.value.complaints
    for complaint in error.value.complaints:
        assert complaint.startswith("/nowhere/gatepost.toml:")
        assert "\n" not in complaint


# -- Addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:2525", SocketAddress("127.0.0.1", 2525)),
        ("0.0.0.0:0", SocketAddress("0.0.0.0", 0)),
        ("[::]:25", SocketAddress("::", 25)),
        ("[2001:db8::1]:65535", SocketAddress("2001:db8::1", 65535)),
        ("unix:/run/gatepost.sock", SocketAddress(path=Path("/run/gatepost.sock"))),
    ],
)
def test_socket_addresses(text: str, expected: SocketAddress) -> None:
    assert SocketAddress.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["[::1]:25", "[0::1]:25", "[0:0:0:0:0:0:0:0001]:25", "[::1]:025"])
def test_one_address_has_one_spelling(text: str) -> None:
    assert str(SocketAddress.parse(text)) == "[::1]:25"


@given(
    st.text()
    | st.from_regex(r"\[?[0-9a-f:.%]{0,9}\]?:[0-9]{0,6}", fullmatch=True)
    | st.text().map("unix:".__add__)
)
def test_any_text_is_a_socket_address_or_not(text: str) -> None:
    try:
        address = SocketAddress.parse(text)
    except ValueError:
        return
    assert SocketAddress.parse(str(address)) == address


# -- Lines ----------------------------------------------------------------------------------------

TRAPS = '''\
hostname = "x"  # [limits]
"quoted key" = 1
text = """
[limits]
line = 1
"""
literal = \'\'\'
[[plugin]]
use = "a"\'\'\'
list = [
  "]", # ]
  ["a"],
  [
    "b"
  ],
]
dotted.inner . key = { a = "}", b = [1] }
[limits] # "
line = 2
[[plugin]]
use = "a"
[plugin.inner]
deep = 1
[[plugin.inner.list]]
deep = 1
[[ plugin ]]
'use' = """b"""
[[plugin]]
"us\\u0065" = "c"
[[plugin.hosts]]
name = "a"
[[plugin.hosts]]
name = "b"
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("hostname",), 1),
        (("quoted key",), 2),
        (("text",), 3),
        (("literal",), 7),
        (("list",), 10),
        (("list", 2), 10),
        (("dotted", "inner", "key"), 17),
        (("dotted", "inner", "key", "a"), 17),
        (("limits",), 18),
        (("limits", "line"), 19),
        (("limits", "recipients"), 18),
        (("plugin", 0), 20),
        (("plugin", 0, "use"), 21),
        (("plugin", 0, "inner"), 22),
        (("plugin", 0, "inner", "deep"), 23),
        (("plugin", 0, "inner", "list", 0, "deep"), 25),
        (("plugin", 1), 26),
        (("plugin", 1, "use"), 27),
        (("plugin", 2, "use"), 28),
        (("plugin", 2, "hosts", 1, "name"), 33),
        (("nowhere",), 0),
        ((), 0),
    ],
)
def test_lines_of_places(place: Place, line: int) -> None:
    assert Locator(TRAPS).line(place) == line
