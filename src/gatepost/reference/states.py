"""The page of states: the state machines of server and client, drawn from their tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

from gatepost.protocol import stages, states
from gatepost.protocol.stages import ClientState, Stage
from gatepost.protocol.states import (
    ANYWHERE,
    BAD_SEQUENCE,
    GUARDS,
    OUT_OF_TURN,
    YOU_WERE_TURNED_AWAY,
    Circumstance,
    State,
)
from gatepost.reference.markdown import code, fenced, page, table
from gatepost.reference.source import documented

#: Where each event leads from each state, both by their names.
_Moves: TypeAlias = Mapping[str, Mapping[str, str]]

_SERVER = """\
## The server's side

The reply moves the state: an arrow is taken when its event is answered with a positive reply, one
that says "challenged" when it is answered with 334, and one that says "refused" when it is answered
with a negative one.  All other refusals leave the state as it is, and a reply that ends the
connection leads to CLOSED from everywhere.  When TLS is up, HANDSHAKE gives way to HELLO.  Events
that lead back to where they came from are not drawn; the table below has them.
"""

_GUARDS = """\
### What circumstances forbid

Whatever the state, a command is refused while one of these is so; the first of them counts.
"""

_IN_TURN = """\
An event that is not listed for a state is out of turn there.  In turn in every state but
TURNED_AWAY, and leaving it as it is:
{anywhere}.
"""

_OUT_OF_TURN = """\
### What a command out of turn is told

The state's own words, or else the command's; `{other}` where there are
neither.  A client that was turned away hears `{turned_away}`
to everything but QUIT.
"""

_CLIENT = """\
## The client's side

The same for sessions in which we are the client.  What the table does not list, no sound server
answers, and the connection is given up.
"""


def states_page() -> str:
    """The whole page."""
    anywhere = sorted(code(event.__name__) for event in ANYWHERE)
    moves = _names(states.TRANSITIONS)
    told = _OUT_OF_TURN.format(other=BAD_SEQUENCE, turned_away=YOU_WERE_TURNED_AWAY)
    stays = _client_names(stages.TRANSITIONS)
    return page(
        "States",
        _SERVER,
        diagram(moves, _names(states.REFUSALS), _names(states.CHALLENGES)),
        "### What is in turn",
        _IN_TURN.format(anywhere=", ".join(anywhere)),
        _in_turn(State, "gatepost.protocol.states", moves),
        told,
        table(("state", "command", "reply"), _told()),
        _GUARDS,
        table(("circumstance", "meaning", "commands", "reply"), _guards()),
        _CLIENT,
        diagram(stays, _client_names(stages.REFUSALS)),
        _in_turn(ClientState, "gatepost.protocol.stages", stays),
    )


def diagram(transitions: _Moves, refusals: _Moves, challenges: _Moves | None = None) -> str:
    """A state machine in Mermaid; events that share an arrow stand on it together."""
    arrows: dict[tuple[str, str], list[str]] = {}
    kinds = ((transitions, ""), (challenges or {}, " challenged"), (refusals, " refused"))
    for moves, suffix in kinds:
        for state, leads in moves.items():
            for event, after in leads.items():
                if after != state:
                    arrows.setdefault((state, after), []).append(event + suffix)
    lines = ["stateDiagram-v2", "    [*] --> CONNECT"]
    lines += [
        f"    {state} --> {after}: {', '.join(events)}" for (state, after), events in arrows.items()
    ]
    return fenced("mermaid", "\n".join(lines))


def _names(moves: Mapping[State, Mapping[type, State]]) -> _Moves:
    return {
        state.name: {event.__name__: after.name for event, after in leads.items()}
        for state, leads in moves.items()
    }


def _client_names(moves: Mapping[ClientState, Mapping[Stage, ClientState]]) -> _Moves:
    return {
        state.name: {stage.value: after.name for stage, after in leads.items()}
        for state, leads in moves.items()
    }


def _in_turn(kind: type[Enum], module: str, moves: _Moves) -> str:
    members = documented(module)[kind.__name__].members
    meanings = {member.name: member.text for member in members}
    rows = [
        (state.name, meanings.get(state.name, ""), ", ".join(moves.get(state.name, ())))
        for state in kind
    ]
    return table(("state", "meaning", "in turn"), rows)


def _guards() -> list[tuple[str, str, str, str]]:
    members = documented("gatepost.protocol.states")[Circumstance.__name__].members
    meanings = {member.name: member.text for member in members}
    rows: list[tuple[str, str, str, str]] = []
    for circumstance, forbidden in GUARDS.items():
        by_reply: dict[str, list[str]] = {}
        for event, reply in forbidden.items():
            by_reply.setdefault(code(str(reply)), []).append(event.__name__.upper())
        name, meaning = circumstance.name, meanings.get(circumstance.name, "")
        rows += [(name, meaning, ", ".join(events), said) for said, events in by_reply.items()]
    return rows


def _told() -> list[tuple[str, str, str]]:
    return [
        (state.name if state else "any other", event.__name__.upper(), code(str(reply)))
        for (state, event), reply in OUT_OF_TURN.items()
    ]
