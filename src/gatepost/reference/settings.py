"""The page of settings: every key of the configuration, from the dataclasses that hold it."""

from __future__ import annotations

from gatepost.config import CertificateFiles, Config, Dns, Listen, TlsSettings
from gatepost.config.log import LogSettings
from gatepost.config.metrics import MetricsSettings
from gatepost.config.otel import OtelSettings
from gatepost.config.trail import TrailSettings
from gatepost.hooks.loader import Option, options_of
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.reference.markdown import code, page, table

_INTRODUCTION = """\
The configuration is one TOML file.  `gatepost check` reads it and says all that is wrong with it; a
key that is not on this page is an error.  Relative paths start at the directory of the file, and
`$NAME` or `${NAME}` in a path is taken from the environment.  [Configuration](configuration.md)
explains how the parts work together, and [Plugins](plugins.md) has the options of each plugin.
"""

#: Fields of Config that are tables of the file, or stand for the file itself.
_NO_KEYS = frozenset(
    {"directory", "dns", "limits", "listen", "log", "metrics", "otel", "plugins", "tls", "trail"}
)

_TABLES = {
    "[[listen]]": (Listen, "One table for each socket where clients may connect."),
    "[limits]": (Limits, "How much one client may ask for.  What is left out has its default."),
    "[tls]": (TlsSettings, "The certificates, and which TLS is spoken."),
    "[[tls.certificates]]": (CertificateFiles, "One table for each further certificate."),
    "[log]": (LogSettings, "What is logged, in which form, and where it goes."),
    "[trail]": (TrailSettings, "What is kept of decisions, for `gatepost why`; see `state`."),
    "[metrics]": (MetricsSettings, "Where figures and the state of health are served."),
    "[otel]": (OtelSettings, "Where traces are sent."),
    "[dns]": (Dns, "Whom plugins ask for names."),
    "[[plugin]]": (
        Placement,
        "One table for each plugin, in the order in which they are asked.  These keys are "
        "understood in each of them; all others are the plugin's own options.",
    ),
}


def settings_page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, "## The first level", _keys(Config, _NO_KEYS)]
    for title, (kind, words) in _TABLES.items():
        parts += [f"## {title}", words, _keys(kind)]
    return page("Settings", *parts)


def default_of(option: Option) -> str:
    """What stands in the column of defaults."""
    if option.default_text is None:
        return "(required)"
    return "(computed)" if option.default_text == "computed" else code(option.default_text)


def _keys(kind: type, left_out: frozenset[str] = frozenset()) -> str:
    return table(
        ("key", "value", "default", "meaning"),
        [
            (
                code(option.name),
                option.type_text,
                default_of(option),
                option.meaning,
            )
            for option in options_of(kind)
            if option.name not in left_out
        ],
    )
