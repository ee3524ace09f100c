"""Plugin: every moment of a mail's arrival on which a plugin may speak."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from inspect import isfunction, signature
from typing import Any, Literal, TypeAlias, TypeVar, get_type_hints

from gatepost.address import Address
from gatepost.credentials import Credentials, Secret
from gatepost.each import AnswerForEach
from gatepost.reply import Reply
from gatepost.session import Recipient, Session, Transaction
from gatepost.site import Site
from gatepost.trail import Decision
from gatepost.verdict import Answer, Heard

Manner: TypeAlias = Literal["decide", "listen", "rewrite", "supply"]
#: What a supplying hook returns: the thing, None for "I do not have it", or either after a wait.
Supply: TypeAlias = Secret | Awaitable[Secret | None] | None
F = TypeVar("F", bound=Callable[..., Any])


class Plugin:
    """The base of every plugin: override the hooks you care about, plain or async.

    Plugins take their turns in the order of the configuration.  What a hook returns says what kind
    of turn it is: an Answer decides (the first verdict settles the matter, None asks the next),
    Heard only listens, Supply gives what is asked for (None asks the next), and any other type is
    rewritten by each plugin in turn.

    A plugin with options is a dataclass: its fields are its options, the `#:` comments behind them
    are their documentation.
    """

    # -- Decide: the first verdict settles it ---------------------------------------------------

    def connect(self, session: Session) -> Answer:
        """A client has connected; nothing has been said yet."""
        return None

    def helo(self, session: Session, name: str) -> Answer:
        """The client says HELO, EHLO or LHLO (`session.verb` says which) and gives its name."""
        return None

    def starttls(self, session: Session) -> Answer:
        """The client asks for TLS."""
        return None

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        """The client shows who it is.  Somebody must accept it, or it is denied.

        The type of the credentials says what there is to check: a `Password`, a `Token`, an
        `External` certificate; or a `Proven` user, of whom silence accepts.  Answer None for a
        user that you do not know, and let that take as long as a wrong password does.

        A plugin with this hook is asked about passwords; one that answers for more, or for less,
        says so on `mechanisms`.
        """
        return None

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        """The client names the sender of a new message.  A refusal throws the transaction away."""
        return None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        """The client names one recipient.  Somebody must accept it, or it is denied."""
        return None

    def data(self, transaction: Transaction) -> Answer:
        """The client asks to send the message itself: DATA, or the first BDAT."""
        return None

    def headers(self, transaction: Transaction) -> Answer:
        """The header block is in, the body is not.

        A refusal is answered at the end of the message; the body is not stored.
        """
        return None

    def message(self, transaction: Transaction) -> AnswerForEach:
        """The whole message has arrived: the last moment to refuse it."""
        return None

    def queue(self, transaction: Transaction) -> AnswerForEach:
        """Take responsibility for the message.  Somebody must accept it, or it is deferred.

        Accept only when the message is on stable storage or the next hop took it.
        """
        return None

    def rset(self, session: Session, text: str) -> Answer:
        """The client says RSET."""
        return None

    def noop(self, session: Session, text: str) -> Answer:
        """The client says NOOP, perhaps with a text."""
        return None

    def vrfy(self, session: Session, text: str) -> Answer:
        """The client asks whether a mailbox exists."""
        return None

    def expn(self, session: Session, text: str) -> Answer:
        """The client asks for the members of a mailing list."""
        return None

    def help(self, session: Session, text: str) -> Answer:
        """The client asks for help, perhaps on a subject."""
        return None

    def quit(self, session: Session, text: str) -> Answer:
        """The client says goodbye."""
        return None

    def unrecognized(self, session: Session, verb: str, text: str) -> Answer:
        """The client says a word that is no command here."""
        return None

    # -- Listen: nobody can stop it -------------------------------------------------------------

    def startup(self, site: Site) -> Heard:
        """The server is about to take connections.  An exception here keeps it from starting."""

    def shutdown(self, site: Site) -> Heard:
        """The server has taken its last connection."""

    def secured(self, session: Session) -> Heard:
        """TLS is up; `session.tls` tells what it is."""

    def authenticated(self, session: Session) -> Heard:
        """The client has shown who it is: `session.user`, by `session.mechanism`."""

    def decided(self, session: Session, decision: Decision) -> Heard:
        """Some plugin, perhaps this one, has given a verdict."""

    def queued(self, transaction: Transaction, reply: Reply) -> Heard:
        """The end of the message has been answered, for better or worse.

        In LMTP `reply` is the best of several, and `transaction.replies` has them all.
        """

    def reset(self, transaction: Transaction) -> Heard:
        """The transaction is over, finished or not.  Always called once for each."""

    def disconnect(self, session: Session) -> Heard:
        """The connection is gone, for whatever reason.  Always called once for each."""

    # -- Rewrite: each plugin in turn gets the value and returns it, changed or not --------------

    def greeting(self, session: Session, text: str) -> str | Awaitable[str]:
        """The words behind `220` in the banner; the host's name must stay the first of them."""
        return text

    def capabilities(
        self, session: Session, offered: tuple[str, ...]
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        """The lines of the EHLO reply below the first, with yours added or some taken away.

        What is taken away is not honoured either.
        """
        return offered

    def mechanisms(
        self, session: Session, offered: tuple[str, ...]
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        """The SASL mechanisms that plugins can answer for, with yours added or some taken away.

        The server offers those that it knows, and under TLS only those that carry a bare password
        or token, unless the listener says otherwise.  The `-PLUS` form of a mechanism goes with it.
        """
        return offered

    def argument(self, session: Session, verb: str, text: str) -> str | Awaitable[str]:
        """The raw text behind a verb, before it is parsed."""
        return text

    def received(self, transaction: Transaction, field: str) -> str | Awaitable[str]:
        """The value of the Received field that is put on top of the message."""
        return field

    def route(
        self, transaction: Transaction, recipient: Recipient
    ) -> tuple[Recipient, ...] | Awaitable[tuple[Recipient, ...]]:
        """Where an accepted recipient's copy goes: to itself, to others, or to several."""
        return (recipient,)

    def setting(self, name: str, value: int, address: Address | None) -> int | Awaitable[int]:
        """A limit of the configuration, for all or for one address.

        `name` is a key of [limits]: `message_size` (asked at EHLO for all, at MAIL for the sender,
        at RCPT for the recipient) or `recipients` (asked at MAIL for the sender).
        """
        return value

    # -- Supply: the first plugin that has it gives it --------------------------------------------

    def secret(self, session: Session, user: str, mechanism: str) -> Supply:
        """What a user's proof is checked against; None from who does not know the user.

        SCRAM wants `ScramKeys` of its digest, or a `PlainSecret`; CRAM-MD5 wants a `PlainSecret`.
        Whoever gives one vouches for the user.
        """
        return None

    def __init_subclass__(cls) -> None:
        for name, value in vars(cls).items():
            if name.startswith("_") or not callable(value):
                continue
            if name not in HOOKS:
                match = get_close_matches(name, HOOKS, 1)
                hint = f"; did you mean {match[0]!r}?" if match else ""
                raise TypeError(
                    f"{cls.__name__}.{name} is no hook{hint} (a helper's name begins with _)"
                )
            specified = signature(getattr(Plugin, name)).parameters
            if isfunction(value) and not _takes(value, len(specified)):
                raise TypeError(f"{cls.__name__}.{name} must take ({', '.join(specified)})")


def blocking(hook: F) -> F:
    """Declare that a hook blocks: it is run in a thread, and the server goes on meanwhile."""
    hook.__blocking__ = True  # type: ignore[attr-defined]  # functions carry attributes at run time
    return hook


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments, its own object the first."""
    try:
        # What a decorator makes of a hook is what is called, not what it wraps.
        signature(function, follow_wrapped=False).bind(*range(count))
    except TypeError:
        return False
    return True


def _manner(hook: Callable[..., Any]) -> Manner:
    returned = get_type_hints(hook)["return"]
    if returned == Heard:
        return "listen"
    if returned == Supply:
        return "supply"
    return "decide" if returned in (Answer, AnswerForEach) else "rewrite"


#: The manner of every hook, in the order in which a mail meets them.
HOOKS: dict[str, Manner] = {
    name: _manner(value)
    for name, value in vars(Plugin).items()
    if not name.startswith("_") and callable(value)
}
