"""The command line: one file a command."""

from __future__ import annotations

from importlib import import_module

import click

#: The commands, and the module that each lives in.
COMMANDS = {
    "init": "gatepost.cli.init",
    "serve": "gatepost.cli.serve",
    "reload": "gatepost.cli.reload",
    "stop": "gatepost.cli.stop",
    "status": "gatepost.cli.status",
    "check": "gatepost.cli.check",
    "try": "gatepost.cli.trial",
    "why": "gatepost.cli.why",
    "sessions": "gatepost.cli.sessions",
    "watch": "gatepost.cli.watch",
    "plugins": "gatepost.cli.plugins",
    "help": "gatepost.cli.help",
    "password": "gatepost.cli.password",
    "stdio": "gatepost.cli.stdio",
}


class _Commands(click.Group):
    """Imports a command when it is asked for, so that each pays for its own needs only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatepost", message="gatepost %(version)s")
def main() -> None:
    """A mail server in which every step of a conversation is a question that plugins answer.

    `gatepost init .` writes a first configuration, `gatepost serve` takes mail.
    """
