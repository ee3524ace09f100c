"""The configuration: one TOML file, read whole before a socket opens."""

from gatepost.config.complaints import ConfigError
from gatepost.config.reader import load_config, parse_config
from gatepost.config.settings import Config, Dns, Listen, SocketAddress, own_hostname

__all__ = [
    "Config",
    "ConfigError",
    "Dns",
    "Listen",
    "SocketAddress",
    "load_config",
    "own_hostname",
    "parse_config",
]
