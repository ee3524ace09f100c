"""Chain: how plugins are asked, told, and passed a value on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

from gatepost.address import Address
from gatepost.each import Each
from gatepost.hooks.failures import log_failure
from gatepost.hooks.placement import Placement
from gatepost.hooks.settling import settled
from gatepost.hooks.turn import Turn, hold, turns_of
from gatepost.plugin import HOOKS, Plugin
from gatepost.session import Recipient, Session, Transaction
from gatepost.site import Site
from gatepost.trail import Decision
from gatepost.verdict import Accept, Defer, Deny, Verdict

T = TypeVar("T")
Method: TypeAlias = Callable[..., Any]
#: Puts something around a method that is called: of a hook's name, a plugin's name and the method.
Observe: TypeAlias = Callable[[str, str, Method], Method]

#: What it means that a plugin raised an exception, took too long or answered nonsense: it never
#: opens a door.
BROKEN = Defer("Internal error", code=451, status="4.3.0")

#: Whatever a plugin raises, also where it would end the whole program.
_FAILURES = (Exception, SystemExit)
_VERDICTS = frozenset({Accept, Deny, Defer})
_FOR_EACH = frozenset({"message", "queue"})
#: Where among a rewriting hook's arguments the value stands that is passed on.
_REWRITTEN = {
    "greeting": 1, "capabilities": 1, "mechanisms": 1, "argument": 2, "received": 1, "setting": 1,
}  # fmt: skip


class PluginFailure(Exception):
    """A plugin broke while it rewrote something that cannot be left as it was."""


class Chain:
    """Plugins in order, ready to be asked.

    Whatever a plugin raises is caught here, where it is called, and nowhere further out.

    `observe` may put something around the methods that are called: it is given the hook, the name
    of the plugin and the method, and returns what is to be called instead.
    """

    def __init__(
        self,
        plugins: Iterable[tuple[Plugin, Placement]],
        *,
        observe: Observe | None = None,
    ) -> None:
        self._plugins = tuple(plugins)
        self._observe = observe
        #: who is asked on each hook, in order
        self.turns: Mapping[str, tuple[Turn, ...]] = {
            hook: tuple(turn for pair in self._plugins for turn in turns_of(*pair, hook))
            for hook in HOOKS
        }
        if observe is not None:
            for hook, turns in self.turns.items():
                for turn in turns:
                    turn.method = observe(hook, turn.name, turn.method)

    def on(self, listener: str) -> Chain:
        """The chain without the plugins that are not to be asked on a listener."""
        plugins = (
            (plugin, placement)
            for plugin, placement in self._plugins
            if not placement.listeners or listener in placement.listeners
        )
        return Chain(plugins, observe=self._observe)

    @overload
    async def ask(  # type: ignore[overload-overlap]  # only the names of these two hooks matter
        self,
        hook: Literal["message", "queue"],
        session: Session,
        holder: Transaction,
        *arguments: object,
    ) -> Verdict | Each | None: ...

    @overload
    async def ask(
        self, hook: str, session: Session, holder: Session | Transaction, *arguments: object
    ) -> Verdict | None: ...

    async def ask(
        self, hook: str, session: Session, holder: Session | Transaction, *arguments: object
    ) -> Verdict | Each | None:
        """The first verdict on a hook; None when nobody has an opinion.

        `holder` is the hook's first argument.
        """
        for turn in self.turns[hook]:
            if turn.excuses is not None and turn.excuses(session):
                continue
            started = perf_counter()
            try:
                answer = turn.method(holder, *arguments)
                if answer is None:
                    continue
                if type(answer) not in _VERDICTS:
                    answer = _checked(hook, await settled(turn, answer))
                    if answer is None:
                        continue
            except _FAILURES as error:
                if not _still_counts(turn, hook, error, arguments):
                    continue
                answer = BROKEN
            verdict: Verdict | Each = turn.consequence(answer) if turn.adjusts else answer
            mode = "enforce" if turn.enforces else turn.mode_of(verdict)
            seconds = perf_counter() - started
            message = holder.number if isinstance(holder, Transaction) else 0
            for one in verdict.verdicts.values() if isinstance(verdict, Each) else (verdict,):
                decision = Decision(turn.name, hook, one, seconds, mode, message)
                session.trail.add(decision)
                if self.turns["decided"]:
                    await self.tell("decided", session, decision)
            if mode == "enforce":
                return verdict
            if mode == "later":
                hold(turn.name, verdict, holder)
        return None

    async def tell(self, hook: str, *arguments: object) -> None:
        """Let every plugin hear of something; what one of them breaks does not stop the next."""
        for turn in self.turns[hook]:
            try:
                heard = turn.method(*arguments)
                if heard is not None:
                    await settled(turn, heard)
            except _FAILURES as error:
                log_failure(turn.name, hook, error)

    async def pass_on(self, hook: str, *arguments: Any) -> Any:
        """The value that comes out when each plugin in turn has rewritten it.

        Raises PluginFailure when one of them breaks, unless its failures are to be ignored.
        """
        position = _REWRITTEN[hook]
        passed = list(arguments)
        kind = type(passed[position])
        for turn in self.turns[hook]:
            try:
                value = turn.method(*passed)
                if type(value) is not kind:
                    value = _of_kind(kind, await settled(turn, value))
                if kind is tuple:  # of EHLO lines, or of mechanisms
                    _check_all(str, value)
                passed[position] = value
            except _FAILURES as error:
                if _still_counts(turn, hook, error, passed):
                    raise PluginFailure(f"{turn.name} failed on {hook}") from error
        return passed[position]

    async def supply(self, hook: str, kind: tuple[type[T], ...], *arguments: object) -> T | None:
        """What the first plugin gives that has it, of one of the kinds; None when nobody has it.

        Raises PluginFailure when a plugin breaks, unless its failures are to be ignored.
        """
        for turn in self.turns[hook]:
            try:
                given = turn.method(*arguments)
                if given is not None and type(given) not in kind:
                    given = await settled(turn, given)
                if given is not None:
                    return _one_of(kind, given)
            except _FAILURES as error:
                if _still_counts(turn, hook, error):
                    raise PluginFailure(f"{turn.name} failed on {hook}") from error
        return None

    async def setting(self, name: str, value: int, address: Address | None = None) -> int:
        """A limit of the configuration as plugins will have it, for all or for one address.

        Raises PluginFailure as `pass_on` does.
        """
        if not self.turns["setting"]:
            return value
        rewritten: int = await self.pass_on("setting", name, value, address)
        return rewritten

    async def routes(self, transaction: Transaction, recipient: Recipient) -> tuple[Recipient, ...]:
        """Where the copies of one accepted recipient go.

        Raises PluginFailure as `pass_on` does.
        """
        recipients: tuple[Recipient, ...] = (recipient,)
        for turn in self.turns["route"]:
            routed: tuple[Recipient, ...] = ()
            try:
                for one in recipients:
                    route = turn.method(transaction, one)
                    if type(route) is not tuple:
                        route = _of_kind(tuple, await settled(turn, route))
                    routed += _check_all(Recipient, route)
            except _FAILURES as error:
                if _still_counts(turn, "route", error):
                    raise PluginFailure(f"{turn.name} failed on route") from error
            else:
                recipients = routed
        return recipients

    async def start(self, site: Site) -> None:
        """Tell every plugin that the server starts; what one of them raises is passed through.

        A note on the exception says which plugin it was.
        """
        for turn in self.turns["startup"]:
            try:
                heard = turn.method(site)
                if heard is not None:
                    await settled(turn, heard)
            except Exception as error:  # a plugin's, which goes on with its name
                error.add_note(f"{turn.name} failed on startup")
                raise


def _checked(hook: str, answer: Any) -> Verdict | Each | None:
    kind = type(answer)
    if kind is Each and hook in _FOR_EACH:
        fits = all(type(one) in _VERDICTS for one in answer.verdicts.values())
    else:
        fits = answer is None or kind in _VERDICTS
    if fits:
        return answer  # type: ignore[no-any-return]  # its type has just been looked at
    raise TypeError(f"{answer!r} is no answer on {hook}")


def _of_kind(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _one_of(kinds: tuple[type[T], ...], value: Any) -> T:
    if type(value) not in kinds:
        raise TypeError(f"{type(value).__name__} is not what was asked for")
    return cast(T, value)


def _check_all(kind: type, values: Any) -> Any:
    for value in values:
        _of_kind(kind, value)
    return values


def _still_counts(
    turn: Turn, hook: str, error: BaseException, arguments: Sequence[object] = ()
) -> bool:
    """Log a failure of a plugin; whether it is held against the client."""
    log_failure(turn.name, hook, error, arguments)
    return turn.placement.on_error == "defer"
