"""Criteria: which records a command is to show, as its options say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal, TypeAlias

import click

from gatepost.archive.clues import Clues, clues_of, of_network, of_recipient, of_sender, of_user
from gatepost.archive.conclusions import conclusion_of, refused_recipients
from gatepost.archive.records import Record

Command: TypeAlias = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a record must be like."""

    clues: tuple[Clues, ...] = ()  #: it has one of each
    plugin: str = ""  #: it has a decision or a result of this plugin
    verdict: Literal["accepted", "refused", ""] = ""  #: it ended like that, or a recipient did

    def cover(self, record: Record) -> bool:
        """Whether the record is wanted; one that tells nothing never is."""
        return record.tells and self._fits_clues(record) and self._fits(record)

    def _fits_clues(self, record: Record) -> bool:
        own = clues_of(record) if self.clues else set()
        return all(any(first <= one <= last for one in own) for first, last in self.clues)

    def _fits(self, record: Record) -> bool:
        if self.plugin and all(one.plugin != self.plugin for one in record.entries):
            return False
        if not self.verdict:
            return True
        conclusion = conclusion_of(record)
        if self.verdict == "accepted":
            return conclusion.word == "accepted"
        return conclusion.is_refusal or any(refused_recipients(record))


def bare(address: str) -> str:
    """An address without angle brackets."""
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def _network(
    _: click.Context, parameter: click.Parameter, text: str | None
) -> IPv4Network | IPv6Network | None:
    try:
        return None if text is None else ip_network(text, strict=False)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no IP address and no network", param=parameter
        ) from None


_OPTIONS = (
    click.option(
        "--client", metavar="IP", callback=_network, help="From this IP address or network."
    ),
    click.option("--from", "sender", metavar="ADDRESS", help="From this sender; '' for none."),
    click.option("--to", "recipient", metavar="ADDRESS", help="To this recipient."),
    click.option("--user", metavar="NAME", help="From this user, who has authenticated."),
    click.option(
        "--plugin", metavar="NAME", default="", help="With a verdict or a result of this plugin."
    ),
    click.option(
        "--refused", "verdict", flag_value="refused", help="Refused, if only for one recipient."
    ),
    click.option("--accepted", "verdict", flag_value="accepted", help="Accepted."),
)


def criteria_options(function: Command) -> Command:
    """Give a command the options that say which records it shows, as one `criteria`."""

    @wraps(function)
    def command(
        *,
        client: IPv4Network | IPv6Network | None,
        sender: str | None,
        recipient: str | None,
        user: str | None,
        plugin: str,
        verdict: Literal["accepted", "refused"] | None,
        **others: Any,
    ) -> None:
        clues = (
            None if client is None else of_network(client),
            None if sender is None else of_sender(bare(sender)),
            None if recipient is None else of_recipient(bare(recipient)),
            None if user is None else of_user(user),
        )
        wanted = tuple(one for one in clues if one is not None)
        function(criteria=Criteria(wanted, plugin, verdict or ""), **others)

    decorated: Command = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
