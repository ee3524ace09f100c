"""`gatepost try`: one conversation with the configured plugins, without a socket."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from gatepost.cli.complaint import complain, startup_complaint
from gatepost.cli.configuration import (
    config_option,
    first_domain,
    listener_named,
    listener_option,
    load_or_complain,
)
from gatepost.cli.rehearsal import Fate, Letter, Rehearsal
from gatepost.cli.undelivered import undelivered
from gatepost.config import Config, ConfigError, Listen
from gatepost.hooks.chain import Chain
from gatepost.log.set_up import log_to
from gatepost.server.conversation import Conversation
from gatepost.session import Endpoint, Session
from gatepost.site import Site
from gatepost.tls import Tls
from gatepost.trail import Decision
from gatepost.verdict import Accept, Defer, Deny
from gatepost.visible import visible

SAMPLE = b"From: anne@client.example\r\nSubject: Hello\r\n\r\nHow are you?\r\n"

#: What `--tls` pretends.
_TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_COLOURS = {Accept: "green", Deny: "red", Defer: "yellow"}


def _checked_ip(_: click.Context, parameter: click.Parameter, ip: str) -> str:
    try:
        return str(ip_address(ip))
    except ValueError:
        raise click.BadParameter(f"{ip!r} is no IP address", param=parameter) from None


@click.command("try")
@click.argument("message", type=click.File("rb"), required=False)
@click.option(
    "--ip",
    metavar="ADDRESS",
    default="192.0.2.1",
    show_default=True,
    callback=_checked_ip,
    help="The client's IP address.",
)
@click.option(
    "--helo",
    metavar="NAME",
    default="client.example",
    show_default=True,
    help="The client's name for itself.",
)
@click.option(
    "--from",
    "sender",
    metavar="ADDRESS",
    default="anne@client.example",
    show_default=True,
    help="The sender; '' for a notification.",
)
@click.option(
    "--to",
    "recipients",
    metavar="ADDRESS",
    multiple=True,
    help="A recipient; may be said several times.  [default: bob at our first domain]",
)
@click.option("--lmtp", is_flag=True, help="Speak LMTP.")
@click.option("--tls", is_flag=True, help="As if TLS were up.")
@click.option("--user", metavar="NAME", default="", help="As if this user had authenticated.")
@click.option("--deliver", is_flag=True, help="Really hand the message over if it is accepted.")
@listener_option
@config_option
def command(
    message: BinaryIO | None,
    ip: str,
    helo: str,
    sender: str,
    recipients: tuple[str, ...],
    lmtp: bool,
    tls: bool,
    user: str,
    deliver: bool,
    listener_name: str | None,
    config_file: Path,
) -> None:
    """Hold a conversation without a socket.

    The whole dialogue with the configured plugins is shown, and what each of them decides.

    MESSAGE is a file, or `-` for standard input; a small sample when left out.  Without
    --deliver nobody is asked to take the message.  The exit status is 0 when it is accepted for
    all recipients, 1 otherwise.
    """
    log_to(sys.stderr, logging.WARNING)
    config = load_or_complain(config_file)
    letter = Letter(
        hello=helo,
        sender=_bare(sender),
        recipients=tuple(map(_bare, recipients)) or (_somebody(config),),
        content=_content(message),
    )
    trial = _Trial(config, _listen(config, listener_name, lmtp=lmtp), lmtp=lmtp, deliver=deliver)
    _conclude(asyncio.run(trial.hold(letter, ip, tls=tls, user=user)))


class _Trial:
    """The server's side: what the conversation is held with."""

    def __init__(self, config: Config, listen: Listen, *, lmtp: bool, deliver: bool) -> None:
        self._config = config
        self._listen = listen
        self._lmtp = lmtp or listen.protocol == "lmtp"
        self._deliver = deliver

    async def hold(self, letter: Letter, ip: str, *, tls: bool, user: str) -> list[Fate]:
        """The whole conversation, from the start of the plugins to their end."""
        config, listen = self._config, self._listen
        chain = Chain(config.plugins).on(listen.name)
        if not self._deliver:
            chain = undelivered(config.plugins, listen.name)
        site = Site(
            config.hostname, config.directory, config.limits, authserv_id=config.authserv_id
        )
        session = Session(*_endpoints(listen, ip), listen.name, tls=_TLS if tls else None)
        session.user, session.relaying = user, user != ""
        conversation = Conversation(
            session,
            chain,
            site,
            listen=replace(listen, protocol="lmtp") if self._lmtp else listen,
            repair=config.stray_line_ends == "repair",
        )
        try:
            await chain.start(site)
        except Exception as error:  # a plugin's `startup` may raise whatever it likes
            complain(startup_complaint(error))
        try:
            rehearsal = Rehearsal(conversation, show_line=_show, show_decision=self._show_decision)
            return await rehearsal.hold(letter, verb="LHLO" if self._lmtp else "EHLO")
        finally:
            await conversation.end()
            await chain.tell("shutdown", site)
            _show_results(session)

    def _show_decision(self, decision: Decision) -> None:
        text = f"{decision}  [{decision.seconds * 1000:.2f} ms]"
        if decision.hook == "queue" and not self._deliver:
            text = f"queue: {decision.plugin} would be asked to take it; --deliver does that"
        click.secho(f"   {visible(text)}", fg=_COLOURS[type(decision.verdict)])


# -- What is asked for ----------------------------------------------------------------------------


def _listen(config: Config, name: str | None, *, lmtp: bool) -> Listen:
    """The listener that the client comes through; of LMTP, if it is to be and there is one."""
    if name is None and lmtp:
        return next((one for one in config.listen if one.protocol == "lmtp"), config.listen[0])
    try:
        return listener_named(config, name)
    except ConfigError as error:
        complain(*error.complaints)


def _endpoints(listen: Listen, ip: str) -> tuple[Endpoint, Endpoint]:
    """The two ends of the connection that there would be."""
    where = listen.socket_address
    if where.path is not None:
        return Endpoint(""), Endpoint(str(where.path))
    return Endpoint(ip, 49152), Endpoint(where.host, where.port)


def _somebody(config: Config) -> str:
    domain = first_domain(config)
    return f"bob@{domain}" if domain else "postmaster"


def _bare(address: str) -> str:
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def _content(message: BinaryIO | None) -> bytes:
    """The message with the line ends of SMTP; says so where it had others."""
    content = SAMPLE if message is None else message.read()
    normal = _LINE_END.sub(b"\r\n", content)
    if normal != content:
        click.echo("(The line ends of the message are made CRLF)")
    return normal


# -- What is shown --------------------------------------------------------------------------------


def _show(who: str, line: str) -> None:
    click.echo(click.style(f"{who}: ", dim=True) + visible(line))


def _show_results(session: Session) -> None:
    if session.trail.results:
        click.echo("\nWhat the plugins found")
    for result in session.trail.results:
        text = f": {result.text}" if result.text else ""
        click.echo(f"   {visible(f'{result.plugin}: {result.outcome}{text}')}")


def _conclude(fates: list[Fate]) -> NoReturn:
    """Say what became of the message, and exit accordingly."""
    click.echo()
    for fate in fates:
        word, colour = ("Accepted", "green") if fate.is_accepted else ("Refused", "red")
        click.secho(visible(f"{word} for <{fate.recipient}>: {fate.reply}"), fg=colour)
    sys.exit(0 if all(fate.is_accepted for fate in fates) else 1)
