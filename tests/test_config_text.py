"""The configuration as the supervisor has it: its text, where the state is, and no plugins."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from gatepost.config import Config, ConfigError, Listen, config_text, parse_config
from gatepost.config.reader import state_directory

LISTEN = '[[listen]]\naddress = "127.0.0.1:2525"\n'

#: A plugin that tells when its code is run.
TELLTALE = """
from pathlib import Path
from gatepost import Plugin

Path(__file__).with_name("was run").touch()

class Telltale(Plugin):
    def __init__(self) -> None:
        raise RuntimeError("it was made")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a configuration may be, beside a plugin."""
    (tmp_path / "telltale.py").write_text(TELLTALE)
    return tmp_path / "gatepost.toml"


def without_plugins(text: str, path: Path) -> Config:
    return parse_config(dedent(text), path=path, with_plugins=False)


# -- The text -------------------------------------------------------------------------------------


def test_the_text_is_as_it_stands_in_the_file(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbfhostname = "x"\r\n# Zo\xc3\xab\n')
    assert config_text(path) == 'hostname = "x"\r\n# Zoë\n'


def test_the_text_need_not_be_sound(path: Path) -> None:
    path.write_text("[[[ \n")
    assert config_text(path) == "[[[ \n"


def test_a_text_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; `gatepost init` writes"):
        config_text(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config_text(path.parent)
    path.write_bytes(b'hostname = "x"\n# \xff\n')
    with pytest.raises(ConfigError, match=r"gatepost\.toml:2: not UTF-8"):
        config_text(path)


# -- Without plugins ------------------------------------------------------------------------------


def test_no_code_of_plugins_is_run(path: Path) -> None:
    text = f'plugin_directories = ["."]\n{LISTEN}[[plugin]]\nuse = "telltale"\n'
    config = without_plugins(text, path)
    assert config.plugins == ()
    assert config.listen == (Listen("127.0.0.1:2525"),)
    assert not (path.parent / "was run").exists()
    with pytest.raises(ConfigError, match="it was made"):
        parse_config(text, path=path)
    assert (path.parent / "was run").exists()


def test_their_tables_are_not_looked_at(path: Path) -> None:
    text = """
        [[listen]]
        address = "127.0.0.1:2525"
        [[plugin]]
        use = "no-such-plugin"
        listeners = ["nowhere"]
        [[plugin]]
        use = "no-such-plugin"
        [[plugin]]
        """
    assert without_plugins(text, path).plugins == ()


def test_what_else_is_wrong_is_complained_of(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        without_plugins(
            """\
            workers = -1
            plugin_directories = ["none"]
            plugin = 5
            [[listen]]
            address = "nowhere"
            [log]
            level = "loud"
            """,
            path,
        )
    assert [complaint.split(":")[1] for complaint in caught.value.complaints] == list("12357")


def test_levels_may_be_those_of_plugins_that_are_not_known(path: Path) -> None:
    text = f'{LISTEN}[log]\nlevels = {{ telltale = "debug" }}\n[[plugin]]\nuse = "telltale"\n'
    assert without_plugins(text, path).log.levels == {"telltale": "debug"}
    with pytest.raises(ConfigError, match="there is no plugin and no module 'elsewhere'"):
        without_plugins(f'{LISTEN}[log]\nlevels = {{ elsewhere = "debug" }}\n', path)


def test_the_rest_is_the_same(path: Path) -> None:
    text = """\
        hostname = "mx.example"
        user = "nobody"
        state = "var"
        [[listen]]
        address = "unix:lmtp.sock"
        protocol = "lmtp"
        [limits]
        recipients = 500
        [trail]
        """
    assert without_plugins(text, path) == parse_config(dedent(text), path=path)


# -- Where the state is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "state"),
        ('state = "var"', "var"),
        ('state = "$WHERE/x"\nworkers = "many"', "run/x"),
        ('state = "/var/lib/gatepost"', "/var/lib/gatepost"),
        ("state = 5", "state"),
        ('state = ""', "state"),
        ('state = "$NOWHERE"', "state"),
        ('state = "var"\n[[[', "state"),
        ("# \udcff", "state"),
        pytest.param(f"a = {'[' * 100_000}", "state", id="nested too deep"),
    ],
)
def test_where_the_state_is(
    path: Path, text: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "run")
    monkeypatch.delenv("NOWHERE", raising=False)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert state_directory(path) == path.parent / where


def test_where_the_state_is_of_no_configuration(path: Path) -> None:
    assert state_directory(path) == path.parent / "state"


@pytest.mark.parametrize("text", ["", 'state = "$WHERE/x"\n'])
def test_commands_look_where_the_server_is(
    path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "run")
    path.write_text(text + LISTEN)
    assert state_directory(path) == parse_config(path.read_text(), path=path).state
