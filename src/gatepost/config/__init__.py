"""The configuration: one TOML file, read whole before a socket opens."""

from gatepost.config.complaints import ConfigError
from gatepost.config.reader import config_text, load_config, parse_config
from gatepost.config.settings import Config, Dns, Listen, own_hostname
from gatepost.config.socket_address import SocketAddress
from gatepost.config.tls import CertificateFiles, TlsSettings

__all__ = [
    "CertificateFiles",
    "Config",
    "ConfigError",
    "Dns",
    "Listen",
    "SocketAddress",
    "TlsSettings",
    "config_text",
    "load_config",
    "own_hostname",
    "parse_config",
]
