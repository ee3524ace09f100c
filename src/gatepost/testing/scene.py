"""Scene: the plugins that a dialogue is held with, and under which conditions, as TOML says it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gatepost.config import Listen
from gatepost.hooks.loader import Loaded, load
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import fill
from gatepost.limits import Limits
from gatepost.session import Session
from gatepost.testing.dialogue import converse
from gatepost.testing.samples import MX


class UnfitScene(ValueError):
    """TOML that no dialogue can be held under; the text says everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything about a dialogue but its words; the fields are the keys of the TOML."""

    plugin: tuple[dict[str, Any], ...] = ()  #: the [[plugin]] tables, as in a configuration
    plugin_directories: tuple[str, ...] = ()  #: relative to the file that the dialogue stands in
    client: str = "192.0.2.1"  #: the client's IP address; empty for a Unix socket
    hostname: str = "mx.example"  #: the server's name
    listen: dict[str, Any] = field(default_factory=dict)  #: of the [[listen]] table, its keys
    tls: bool = False  #: whether TLS is up from the beginning
    user: str = ""  #: who has authenticated before
    limits: Limits = field(default_factory=Limits)
    stray_line_ends: Literal["refuse", "repair"] = "refuse"  #: a bare CR or LF in a message

    @classmethod
    def read(cls, text: str, *, plugin: str = "") -> Scene:
        """Understand TOML.

        Where `plugin` names one, text without a [[plugin]] table is that plugin's own table.
        Raises UnfitScene.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UnfitScene(str(error)) from error
        if plugin and "plugin" not in table:
            table = {"plugin": [{"use": plugin, **table}]}
        values, complaints = fill(table, declared_options(cls), Path())
        if complaints:
            raise UnfitScene("\n".join(complaint.text for complaint in complaints))
        return cls(**values)

    async def hold(self, script: str, *, directory: Path, beside: Path) -> Session:
        """Hold a dialogue here, with `directory` as the configuration's.

        `beside` is the directory of the file that the dialogue stands in.  Raises UnfitScene for
        a plugin that cannot be had, and what `converse` raises.
        """
        return await converse(
            self._plugins(directory, beside),
            script,
            client=self.client,
            hostname=self.hostname,
            listen=self._listen(),
            tls=self.tls,
            user=self.user,
            limits=self.limits,
            repair=self.stray_line_ends == "repair",
            directory=directory,
        )

    def _listen(self) -> Listen:
        table = {"address": MX.address, "name": MX.name} | self.listen
        values, complaints = fill(table, declared_options(Listen), Path())
        if complaints:
            raise UnfitScene("\n".join(complaint.text for complaint in complaints))
        try:
            return Listen(**values)
        except ValueError as error:
            raise UnfitScene(str(error)) from error

    def _plugins(self, directory: Path, beside: Path) -> list[Loaded]:
        directories = [beside / name for name in self.plugin_directories]
        outcomes = [
            load(table, directory=directory, directories=directories) for table in self.plugin
        ]
        complaints = [one for outcome in outcomes if isinstance(outcome, list) for one in outcome]
        if complaints:
            raise UnfitScene("\n".join(complaint.text for complaint in complaints))
        return [outcome for outcome in outcomes if isinstance(outcome, Loaded)]
