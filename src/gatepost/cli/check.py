"""`gatepost check`: load everything, and show who is asked on each hook in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from gatepost.cli.columns import show_columns
from gatepost.cli.configuration import NEEDED, config_option, load_or_complain
from gatepost.config import Config
from gatepost.hooks.chain import Chain
from gatepost.hooks.turn import Turn
from gatepost.plugin import HOOKS


@click.command("check")
@config_option
def command(config_file: Path) -> None:
    """Check the configuration and say who is asked.

    For each hook all plugins that speak there are shown, in the order in which they are asked.
    Where something is wrong with it, all of that is said, and the exit status is 1.
    """
    config = load_or_complain(config_file)
    for listen in config.listen:
        click.echo(f"{listen.protocol} on {listen.address} ({listen.name})")
    click.echo()
    show_columns(list(_rows(config)), ("bold", "cyan", ""))
    click.echo(f"\n{config_file} is sound")


def _rows(config: Config) -> Iterator[tuple[str, str, str]]:
    """One row a turn: the hook, the plugin's name, what its table says of its verdicts."""
    chain = Chain(config.plugins)
    by_listener = {listen.name: chain.on(listen.name) for listen in config.listen}
    for hook in HOOKS:
        orders = {name: one.turns[hook] for name, one in by_listener.items()}
        names = {tuple(turn.name for turn in turns) for turns in orders.values()}
        if len(names) == 1:
            orders = {"": next(iter(orders.values()))}
        for listener, turns in orders.items():
            title = f"{hook} on {listener}" if listener else hook
            yield from _order(title, hook, turns)


def _order(title: str, hook: str, turns: tuple[Turn, ...]) -> Iterator[tuple[str, str, str]]:
    if not turns and hook in NEEDED:
        yield title, "(nobody)", NEEDED[hook]
    for turn in turns:
        yield title, turn.name, "; ".join(_remarks(turn, hook))
        title = ""


def _remarks(turn: Turn, hook: str) -> Iterator[str]:
    """What the plugin's table says of its verdicts and failures, as far as it matters here."""
    placement = turn.placement
    if HOOKS[hook] == "decide":
        if placement.unless:
            yield f"unless {', '.join(placement.unless)}"
        if placement.mode == "report":
            yield "only reported"
        if turn.holds:
            yield f"refusals wait for {placement.pronounce}"
        if placement.mode == "later" and placement.pronounce == hook:
            yield "pronounces what it held back"
        if placement.soften:
            yield "denials become deferrals"
        if placement.disconnect:
            yield "hangs up after a refusal"
    if placement.on_error == "ignore" and HOOKS[hook] != "listen":
        yield "failures ignored"
