"""The tables, as wholes: every hook and state has its row, and every row keeps to the standard."""

from __future__ import annotations

import re

import pytest

from gatepost import Accept, Defer, Deny, Plugin, Reply, Verdict
from gatepost.hooks.replies import REPLIES, reply_to
from gatepost.plugin import HOOKS
from gatepost.protocol.commands import LMTP_VERBS, SMTP_VERBS
from gatepost.protocol.extensions import EXTENSIONS, core_capabilities, keywords
from gatepost.protocol.states import (
    CHALLENGES,
    GUARDS,
    OUT_OF_TURN,
    REFUSALS,
    TRANSITIONS,
    Circumstance,
    State,
)

COLUMNS: dict[str, Verdict] = {"accept": Accept(), "deny": Deny(), "defer": Defer()}

#: The codes that RFC 5321, 4.3.2 and its extensions list for what a hook is asked about.
LISTED: dict[str, set[int]] = {
    "connect": {220, 554, 521, 421},
    "helo": {250, 502, 504, 550},
    "starttls": {220, 454, 501},  # RFC 3207, 4
    "auth": {235, 432, 454, 500, 534, 535, 538},  # RFC 4954, 6
    "mail": {250, 450, 451, 452, 455, 530, 550, 552, 553, 555},
    "rcpt": {250, 251, 450, 451, 452, 455, 550, 551, 552, 553, 556},
    "data": {354, 450, 451, 452, 550, 552, 554},
    "headers": {250, 450, 451, 452, 550, 552, 554},
    "message": {250, 450, 451, 452, 550, 552, 554},
    "queue": {250, 450, 451, 452, 550, 552, 554},
    "rset": {250},
    "noop": {250},
    "vrfy": {250, 251, 252, 502, 504, 550, 551, 553},
    "expn": {250, 252, 500, 502, 504, 550},
    "help": {211, 214, 502, 504},
    "quit": {221},
    "unrecognized": {500, 502},
}
#: Codes beyond those lists, which only a plugin's own refusal earns, each with its reason.
BEYOND: dict[tuple[str, str], tuple[int, str]] = {
    ("helo", "defer"): (450, "421 is all that is listed, and would end the session"),
    ("starttls", "deny"): (554, "454 would have the client come back for it"),
    ("rset", "deny"): (550, "no refusal is listed"),
    ("rset", "defer"): (450, "no refusal is listed"),
    ("noop", "deny"): (550, "no refusal is listed"),
    ("noop", "defer"): (450, "no refusal is listed"),
    ("vrfy", "defer"): (450, "no refusal for now is listed"),
    ("expn", "defer"): (450, "no refusal for now is listed"),
    ("help", "deny"): (550, "502 would say that there is none for anybody"),
    ("help", "defer"): (450, "no refusal for now is listed"),
    ("unrecognized", "accept"): (250, "the plugin knows the command"),
    ("unrecognized", "defer"): (450, "the plugin knows the command"),
}
#: The replies without an enhanced status: the greetings (RFC 2034, 4), and 354.
WITHOUT_STATUS = {("connect", "accept"), ("helo", "accept"), ("data", "accept")}

ROWS = [(hook, column) for hook in REPLIES for column in COLUMNS]


def in_row(hook: str, column: str) -> Reply:
    blanks = re.findall(r"\{(\w+)\}", getattr(REPLIES[hook], column))
    return reply_to(hook, COLUMNS[column], dict.fromkeys(blanks, "x"))


def test_every_hook_that_decides_has_a_row() -> None:
    assert list(REPLIES) == [hook for hook, manner in HOOKS.items() if manner == "decide"]
    assert REPLIES.keys() == LISTED.keys()


@pytest.mark.parametrize(("hook", "column"), ROWS)
def test_the_class_of_a_reply_is_the_verdicts(hook: str, column: str) -> None:
    reply = in_row(hook, column)
    expected = {"accept": (2, 3), "deny": (5,), "defer": (4,)}[column]
    if hook == "quit":  # nobody can be kept
        expected = (2,)
    assert reply.code // 100 in expected


@pytest.mark.parametrize(("hook", "column"), ROWS)
def test_the_class_of_a_status_is_the_codes(hook: str, column: str) -> None:
    reply = in_row(hook, column)
    if (hook, column) in WITHOUT_STATUS:
        assert reply.status == ""
    else:
        assert reply.status[0] == str(reply.code)[0]


@pytest.mark.parametrize(("hook", "column"), ROWS)
def test_every_code_is_one_of_the_standard(hook: str, column: str) -> None:
    code = in_row(hook, column).code
    if (hook, column) in BEYOND:
        assert code == BEYOND[hook, column][0]
        assert code not in LISTED[hook]
    else:
        assert code in LISTED[hook]


@pytest.mark.parametrize("hook", REPLIES)
def test_silence_is_a_verdict_with_a_code_of_the_standard(hook: str) -> None:
    silence = REPLIES[hook].silence
    blanks = re.findall(r"\{(\w+)\}", "".join(str(cell) for cell in REPLIES[hook]))
    reply = reply_to(hook, None, dict.fromkeys(blanks, "x"))
    assert reply == reply_to(hook, silence, dict.fromkeys(blanks, "x"))
    assert reply.code in LISTED[hook]


def test_nobody_relays_and_nobody_loses_mail_by_silence() -> None:
    assert isinstance(REPLIES["rcpt"].silence, Deny)
    assert isinstance(REPLIES["queue"].silence, Defer)


def test_only_a_goodbye_and_an_overload_end_a_session_by_themselves() -> None:
    final = {(hook, column) for hook, column in ROWS if in_row(hook, column).final}
    assert final == {("quit", column) for column in COLUMNS} | {("connect", "defer")}


def test_every_state_has_a_row() -> None:
    assert TRANSITIONS.keys() == CHALLENGES.keys() == set(State)
    assert REFUSALS.keys() <= set(State)
    assert {state for state, _ in OUT_OF_TURN if state} <= set(State)


def test_what_a_circumstance_forbids_is_told_with_a_code_of_the_standard() -> None:
    assert GUARDS.keys() == set(Circumstance)
    for row in GUARDS.values():
        assert {reply.code for reply in row.values()} <= {503, 530, 550}
        assert all(reply.status.startswith("5.") for reply in row.values())


def test_every_hook_is_a_documented_method() -> None:
    for hook in HOOKS:
        words = (getattr(Plugin, hook).__doc__ or "").strip()
        assert words[:1].isupper(), hook
        assert words.partition("\n")[0].rstrip().endswith((".", "?")), hook


def test_every_command_of_an_extension_has_a_row_there() -> None:
    known = {extension.keyword for extension in EXTENSIONS}
    assert {row.needs for row in (SMTP_VERBS | LMTP_VERBS).values()} - {""} <= known


def test_what_the_server_offers_is_in_the_table() -> None:
    offered = keywords(core_capabilities(message_size=1, recipients=100, messages=1))
    by_server = {one.keyword for one in EXTENSIONS if one.turned_on_by.startswith("the server")}
    assert offered == by_server
