"""Turn: one plugin's place in the order of those who are asked on one hook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gatepost.each import Each
from gatepost.hooks.placement import Exemption, Placement
from gatepost.notes import Note
from gatepost.plugin import HOOKS, Plugin
from gatepost.pool import Pool
from gatepost.session import Session, Transaction
from gatepost.trail import Mode
from gatepost.verdict import Accept, Defer, Deny, Verdict

#: Refusals that plugins with `mode = "later"` hold against a session or a transaction, by plugin.
HELD: Note[tuple[tuple[str, Deny | Defer], ...]] = Note(())

_EXEMPT: dict[Exemption, Callable[[Session], bool]] = {
    "relay": lambda session: session.relaying,
    "allowed": lambda session: session.allowed != "",
    "authenticated": lambda session: session.user != "",
}
_MOMENTS = tuple(HOOKS)

#: Seconds that a hook may wait when the configuration does not say.  A next hop may take ten
#: minutes to take a message (RFC 5321, 4.5.3.2.6), and to give up early makes second copies.
_TIMEOUTS = {"queue": 600.0}
_TIMEOUT = 30.0

#: Hooks that block at a time, and that wait until they may.  One that never comes back keeps its
#: thread, and must not keep everything that was to come after it.
THREADS, WAITING = 16, 1000
_POOL = Pool(THREADS, waiting=WAITING)


@dataclass(slots=True)
class Turn:
    """Whom to call, and what follows from the answer."""

    name: str
    method: Callable[..., Any]
    placement: Placement
    holds: bool = False  #: a refusal here is held back, for a later hook to pronounce
    timeout: float = 30.0  #: seconds that the hook may wait
    excuses: Callable[[Session], bool] | None = field(init=False)  #: sessions it does not judge
    adjusts: bool = field(init=False)  #: whether `consequence` may change a verdict
    enforces: bool = field(init=False)  #: whether every verdict takes effect at once

    def __post_init__(self) -> None:
        unless = self.placement.unless
        self.excuses = partial(_is_exempt, unless) if unless else None
        self.adjusts = self.placement.soften or self.placement.disconnect
        self.enforces = self.placement.mode == "enforce"

    def mode_of(self, verdict: Verdict | Each) -> Mode:
        """What a verdict does: it counts, it counts later, or it is only reported."""
        mode = self.placement.mode
        if mode == "later" and not (self.holds and isinstance(verdict, Deny | Defer)):
            return "enforce"
        return mode

    def consequence(self, verdict: Verdict | Each) -> Verdict | Each:
        """The verdict as the configuration wants it: softened, or with a hang-up."""
        if isinstance(verdict, Each):
            return Each({who: self._of_one(one) for who, one in verdict.verdicts.items()})
        return self._of_one(verdict)

    def _of_one(self, verdict: Verdict) -> Verdict:
        if isinstance(verdict, Deny) and self.placement.soften:
            status = f"4{verdict.status[1:]}" if verdict.status else ""
            verdict = Defer(verdict.text, status=status, disconnect=verdict.disconnect)
        if not isinstance(verdict, Accept) and self.placement.disconnect:
            verdict = replace(verdict, disconnect=True)
        return verdict


def turns_of(plugin: Plugin, placement: Placement, hook: str) -> list[Turn]:
    """The turns of one plugin on one hook: its own, and one to pronounce what it held back."""
    name = placement.name or placement.use
    turns: list[Turn] = []
    if placement.mode == "later" and placement.pronounce == hook:
        turns.append(Turn(name, partial(_pronounce, name), placement))
    if hook == "mechanisms" and _answers_for_passwords(plugin):
        turns.append(Turn(name, _with_passwords, placement))
    if _overrides(plugin, hook):
        method = getattr(plugin, hook)
        if getattr(method, "__blocking__", False):
            method = partial(_in_thread, method)
        holds = _is_before_pronouncing(hook, placement)
        timeout = placement.timeout
        if timeout is None:
            timeout = _TIMEOUTS.get(hook, _TIMEOUT)
        turns.append(Turn(name, method, placement, holds, timeout))
    return turns


def hold(name: str, verdict: Verdict | Each, holder: Session | Transaction) -> None:
    """Remember a refusal, in the place of an earlier one of the same plugin."""
    assert isinstance(verdict, Deny | Defer), "only a refusal can be held back"
    others = tuple(held for held in holder.notes[HELD] if held[0] != name)
    holder.notes[HELD] = (*others, (name, verdict))


def _overrides(plugin: Plugin, hook: str) -> bool:
    return getattr(type(plugin), hook) is not getattr(Plugin, hook)


def _answers_for_passwords(plugin: Plugin) -> bool:
    """Whether a plugin checks credentials and does not say which."""
    return _overrides(plugin, "auth") and not _overrides(plugin, "mechanisms")


def _with_passwords(_: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
    return (*offered, "PLAIN", "LOGIN")


def _is_exempt(exemptions: tuple[Exemption, ...], session: Session) -> bool:
    return any(_EXEMPT[exemption](session) for exemption in exemptions)


def _pronounce(name: str, transaction: Transaction, *_: object) -> Deny | Defer | None:
    held = dict((*transaction.session.notes[HELD], *transaction.notes[HELD]))
    return held.get(name)


def _is_before_pronouncing(hook: str, placement: Placement) -> bool:
    return placement.mode == "later" and (
        _MOMENTS.index(hook) < _MOMENTS.index(placement.pronounce)
    )


def _in_thread(method: Callable[..., Any], *arguments: object) -> Awaitable[Any]:
    return _POOL.run(method, *arguments)
