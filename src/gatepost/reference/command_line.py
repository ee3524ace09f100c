"""The page of the command line: every command with its arguments and options."""

from __future__ import annotations

import inspect

import click

from gatepost.cli import main
from gatepost.reference.markdown import code, fenced, page, table


def command_line_page() -> str:
    """The whole page."""
    context = main.make_context("gatepost", [], resilient_parsing=True)
    names = main.list_commands(context)
    commands = [command for name in names if (command := main.get_command(context, name))]
    sections = [f"## {command.name}\n\n{_described(command, context)}" for command in commands]
    return page("Command line", _described(main, None), *sections)


def _described(command: click.Command, parent: click.Context | None) -> str:
    context = command.make_context(
        command.name or "" if parent else "gatepost", [], parent, resilient_parsing=True
    )
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    options = [(code(name), words) for name, words in filter(None, records)]
    return "\n\n".join(
        [
            fenced("text", usage),
            inspect.cleandoc(command.help or "").replace("\b\n", ""),
            table(("option", "meaning"), options),
        ]
    )
