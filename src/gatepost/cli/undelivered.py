"""A chain in which nobody takes a message: those who would are only named."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from gatepost.cli.docstring import hooks_of
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.hooks.turn import Turn
from gatepost.plugin import HOOKS, Plugin
from gatepost.session import Transaction
from gatepost.verdict import Accept


def undelivered(plugins: Collection[tuple[Plugin, Placement]], listener: str) -> Chain:
    """The plugins of a listener, with a stand-in for each one on `queue`.

    A plugin that does nothing but take messages is left out altogether: its `startup` might make
    a directory or open a connection.  Nobody hears of the message by `queued`.
    """
    takers = Chain(plugins).on(listener).turns["queue"]
    chain = Chain(pair for pair in plugins if not _only_takes(pair[0])).on(listener)
    stand_ins = tuple(Turn(one.name, partial(_name, one.name), one.placement) for one in takers)
    chain.turns = {**chain.turns, "queue": stand_ins, "queued": ()}
    return chain


def _only_takes(plugin: Plugin) -> bool:
    return {hook for hook in hooks_of(type(plugin)) if HOOKS[hook] != "listen"} == {"queue"}


def _name(taker: str, _: Transaction) -> Accept:
    return Accept(f"Not delivered: {taker} would be asked now")
