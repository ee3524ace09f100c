"""`gatepost help`: what one plugin does, and its options."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown

from gatepost.cli.columns import show_columns
from gatepost.cli.complaint import complain
from gatepost.cli.configuration import config_option, plugin_directories
from gatepost.cli.docstring import hooks_of, text_of
from gatepost.hooks.loader import LoadError, find_plugin, options_of
from gatepost.hooks.placement import Placement
from gatepost.plugin import Plugin


@click.command("help")
@click.argument("plugin", required=False)
@config_option
@click.pass_context
def command(context: click.Context, plugin: str | None, config_file: Path) -> None:
    """Explain a plugin and its options.

    Without PLUGIN, the commands.
    """
    if plugin is None:
        click.echo((context.parent or context).get_help())
        return
    try:
        kind = find_plugin(plugin, plugin_directories(config_file))
    except LoadError as error:
        complain(str(error))
    _show_text(text_of(kind))
    _show_options(kind)
    _show_hooks(kind)


def _show_text(text: str) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        click.echo(text)


def _show_options(kind: type[Plugin]) -> None:
    common = ", ".join(option.name for option in options_of(Placement) if not option.required)
    rows = [
        (
            f"  {option.name}",
            option.type_text,
            "required" if option.default_text is None else f"default: {option.default_text}",
            option.meaning,
        )
        for option in options_of(kind)
    ]
    click.echo("\nOptions" if rows else "\nNo options of its own.")
    if rows:
        show_columns(rows, ("cyan", "", "dim", ""))
    click.echo(f"\nAs every plugin's, its table may also say {common}.")


def _show_hooks(kind: type[Plugin]) -> None:
    click.echo("\nHooks")
    rows = [
        (f"  {hook}", (inspect.getdoc(getattr(Plugin, hook)) or "").partition("\n")[0])
        for hook in hooks_of(kind)
    ]
    show_columns(rows, ("cyan", ""))
