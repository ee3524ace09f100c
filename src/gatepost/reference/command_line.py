"""The page of the command line: every command with its arguments and options."""

from __future__ import annotations

import inspect

import click

from gatepost.cli import main
from gatepost.reference.markdown import code, fenced, page, table


def command_line_page() -> str:
    """The whole page."""
    context = click.Context(main, info_name="gatepost")
    names = main.list_commands(context)
    commands = [command for name in names if (command := main.get_command(context, name))]
    return page(
        "Command line",
        *_described(main, context),
        *(
            "\n\n".join([f"## {command.name}", *_described(command, _below(context, command))])
            for command in commands
        ),
    )


def _below(context: click.Context, command: click.Command) -> click.Context:
    return click.Context(command, info_name=command.name, parent=context)


def _described(command: click.Command, context: click.Context) -> list[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    options = [(code(name), words) for name, words in filter(None, records)]
    return [
        fenced("text", usage),
        inspect.cleandoc(command.help or "").replace("\b\n", ""),
        table(("option", "meaning"), options),
    ]
