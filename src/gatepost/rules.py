"""Rules: lines that say which addresses get which verdict; the first that matches counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple, TypeAlias

from gatepost.address import Address
from gatepost.derived import Derived
from gatepost.domain_list import domain_entry, entries_covering
from gatepost.trail import Outcome
from gatepost.verdict import Accept, Defer, Deny, Verdict

#: What an address is looked up by: its local part and its domain or suffix; None is "any".
_Key: TypeAlias = tuple[str | None, str | None]
_Pattern: TypeAlias = _Key | re.Pattern[str]

_EXPRESSION = r"/(?:\\.|[^/\\])+/(?!\S)"
_PATTERN = re.compile(rf'\s*({_EXPRESSION}|(?:"(?:\\.|[^"\\])*"|\S)+)')
_ANSWER = re.compile(
    r"\s*(?P<word>\S+)"
    r"(?:\s+(?P<code>[2-5]\d\d)(?!\S))?"
    r"(?:\s+(?P<status>[245]\.\d{1,3}\.\d{1,3})(?!\S))?"
    r"(?:\s+(?P<text>.+))?",
    re.DOTALL,
)
_NUMBER = re.compile(r"[\d.]+(?!\S)")
_REFUSALS: dict[str, type[Deny | Defer]] = {"deny": Deny, "defer": Defer}


class Rule(NamedTuple):
    """One line: the addresses that it is about, and what it says of them."""

    text: str  #: the line as it was written
    patterns: tuple[_Pattern, ...]
    verdict: Verdict | None  #: None: no opinion, and no rule below is asked

    @property
    def outcome(self) -> Outcome:
        """What it comes to on a session's trail."""
        if self.verdict is None:
            return "neutral"
        return "pass" if isinstance(self.verdict, Accept) else "fail"

    @property
    def names_domains(self) -> bool:
        """Whether each of its patterns is bound to a domain, or to everything below one."""
        return all(isinstance(one, tuple) and one[1] is not None for one in self.patterns)


class Rules:
    r"""Rules that stand in entries, one a line: a pattern, a verdict, and what to tell the client.

    | pattern | matches |
    |---|---|
    | `bob@example.org` | this address |
    | `@example.org` | every address of this domain |
    | `.example.org` or `@.example.org` | those of every domain below it, but not of itself |
    | `bob@` | this local part at any domain, or at none |
    | `/^bob[0-9]+@/` | addresses in which this regular expression is found |
    | `<>` | the null path, which nothing else matches |

    The verdict is `accept`, `deny`, `defer` or `none`: no opinion, and no rule below is asked.
    Behind it may stand a code, an enhanced status and a text, in this order, each of which may be
    left out: `deny 550 5.1.1 No such mailbox`.  An `accept` takes a text only.

    Letter case makes no difference, nor do quotes around a local part and the spelling of an
    internationalised domain; an expression sees the domain in A-labels.  To look an address up
    costs the same however many rules there are, but each expression above the rule that is found
    is tried.  An address is short, and yet an expression that nests one repetition in another,
    like `(a+)+`, can keep the server busy for very long: write `(?:a++)++`.

    With `subjects=2` two patterns stand in front of the verdict, and two addresses are asked for.
    `check` raises ValueError for a rule that does not fit.

    Raises ValueError, naming `option` and the bad lines.
    """

    __slots__ = ("_table",)

    def __init__(
        self,
        entries: Iterable[str],
        *,
        option: str,
        subjects: int = 1,
        check: Callable[[Rule], None] | None = None,
    ) -> None:
        parse = partial(_rule, subjects, check)
        self._table = Derived(entries, parse, partial(_Table, subjects), option=option)

    def find(self, *addresses: Address) -> Rule | None:
        """The first rule that matches the addresses, one for each of its patterns."""
        return self._table.current().find(addresses)


class _Table:
    """Rules in their order, and where to look for those without an expression."""

    def __init__(self, subjects: int, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._numbers: dict[tuple[_Pattern, ...], int] = {}
        self._searched: list[int] = []  # rules with an expression: there is nothing but to try them
        for number, rule in enumerate(rules):
            if any(isinstance(pattern, re.Pattern) for pattern in rule.patterns):
                self._searched.append(number)
            else:
                self._numbers.setdefault(rule.patterns, number)
        # A pair of addresses has many pairs of keys; those that no rule names are left out first.
        self._named = [{keys[place] for keys in self._numbers} for place in range(subjects)]

    def find(self, addresses: Sequence[Address]) -> Rule | None:
        keys = [
            [key for key in _keys(address) if key in named]
            for address, named in zip(addresses, self._named, strict=True)
        ]
        numbers = self._numbers
        first = min(
            (numbers[place] for place in product(*keys) if place in numbers),
            default=len(self._rules),
        )
        for number in self._searched:
            if number > first:
                break
            rule = self._rules[number]
            if all(map(_matches, rule.patterns, addresses)):
                return rule
        return self._rules[first] if first < len(self._rules) else None


def _keys(address: Address) -> Iterator[_Key]:
    """All that an address may be listed under."""
    local, domain = address.local.casefold(), address.ascii_domain
    yield local, domain
    if not address.is_null:
        yield local, None
        for entry in entries_covering(domain):
            yield None, entry


def _matches(pattern: _Pattern, address: Address) -> bool:
    if isinstance(pattern, tuple):
        return pattern in _keys(address)
    if address.is_null:  # what was written against people must not refuse the notifications
        return False
    mailbox = address.mailbox.removesuffix(address.domain) + address.ascii_domain
    return pattern.search(mailbox) is not None


# -- Reading a line -------------------------------------------------------------------------------


def _rule(subjects: int, check: Callable[[Rule], None] | None, line: str) -> Rule:
    patterns: list[_Pattern] = []
    position = 0
    for _ in range(subjects):
        match = _PATTERN.match(line, position)
        if match is None:
            break
        patterns.append(_pattern(match[1]))
        position = match.end()
    rule = Rule(line, tuple(patterns), _verdict(line[position:].strip()))
    if check is not None:
        check(rule)
    return rule


def _pattern(text: str) -> _Pattern:
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return _expression(text[1:-1])
    if text.startswith(("@", ".")):
        return None, domain_entry(text.removeprefix("@"))
    if text.endswith("@"):
        return Address.of(f"{text}any.example").local.casefold(), None
    try:
        address = Address.of(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no address ({error}); for a domain write '@example.org', "
            "for a local part 'bob@'"
        ) from error
    return address.local.casefold(), address.ascii_domain


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{text!r} is no regular expression ({error})") from error


@lru_cache(maxsize=256)
def _verdict(text: str) -> Verdict | None:
    """What stands behind the patterns; the same object for the same words, as most lines are."""
    match = _ANSWER.fullmatch(text)
    if match is None:
        raise ValueError("no verdict behind it: accept, deny, defer or none")
    word, code, status, words = match["word"], match["code"], match["status"] or "", match["text"]
    if words and (number := _NUMBER.match(words)):
        raise ValueError(f"{number[0]!r} is no reply code or enhanced status here")
    if word in _REFUSALS:
        return _REFUSALS[word](words or "", code=int(code) if code else None, status=status)
    if word not in ("accept", "none"):
        raise ValueError(f"{word!r} is no verdict: write accept, deny, defer or none")
    if code or status or (words and word == "none"):
        raise ValueError(f"{word!r} takes no {'code or status' if code or status else 'text'}")
    return Accept(words or "") if word == "accept" else None
