"""The server's protocol: bytes in, events out, replies in, bytes out, in any split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost.address import Address
from gatepost.protocol.events import (
    Bdat,
    Chunk,
    Connected,
    Data,
    Ehlo,
    EndOfChunk,
    EndOfData,
    Event,
    Line,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Spoiled,
)
from gatepost.protocol.extensions import core_capabilities, keywords
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.server import ServerProtocol
from gatepost.protocol.states import AT_REST, OUT_OF_TURN, State
from gatepost.protocol.stuffing import Stuffing
from gatepost.reply import Reply

OFFERED = keywords(core_capabilities(message_size=1000, recipients=100, messages=100))
LINE_LIMIT, TEXT_LINE_LIMIT = 60, 40

MAIL = Mail(Address("anne", "client.example"), MailParameters())
RCPT = Rcpt(Address("bob", "example.org"), RcptParameters())
ENVELOPE = b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@example.org>\r\n"


class Client:
    """Feeds a protocol and answers its events, yes or no as it is told."""

    def __init__(self, *answers: bool, **settings: bool) -> None:
        self.protocol = ServerProtocol(
            line_limit=LINE_LIMIT, text_line_limit=TEXT_LINE_LIMIT, **settings
        )
        self.answers: Sequence[bool] = answers or (True,)
        self._answered = 0
        self.events: list[Event] = []
        self.said = b""
        self._next()
        self._answer(Connected(), Reply(220))
        self.events.clear()

    def send(self, *pieces: bytes) -> list[Event]:
        """Let the protocol have some octets; all events so far, neighbouring chunks as one."""
        for piece in pieces:
            self.protocol.receive_data(piece)
            while (event := self._next()) is not None:
                if not isinstance(event, Chunk | Bdat):
                    self._answer(event, self._reply_to(event))
        return merged(self.events)

    def _next(self) -> Event | None:
        event = self.protocol.next_event()
        if isinstance(event, Line):
            event = self.protocol.understand(event.verb, event.text)
        if event is not None:
            self.events.append(event)
        return event

    def _reply_to(self, event: Event) -> Reply:
        if isinstance(event, Malformed | Spoiled):
            return event.reply
        if isinstance(event, Quit):
            return Reply(221, final=True)
        if isinstance(event, Data):
            return Reply(354, "", "Go on")
        self._answered += 1
        yes = self.answers[self._answered % len(self.answers)]
        return Reply(250, "", "Yes") if yes else Reply(550, "5.7.1", "No")

    def _answer(self, event: Event, reply: Reply) -> None:
        self.said += self.protocol.reply(reply)
        if isinstance(event, Ehlo) and reply.positive:
            self.protocol.offer(OFFERED)


def merged(events: Iterable[Event]) -> list[Event]:
    """The events, with the octets of a message in one piece, and without those of a spoiled one."""
    result: list[Event] = []
    for event in events:
        before = result[-1] if result else None
        if isinstance(event, Chunk) and isinstance(before, Chunk):
            result[-1] = Chunk(before.content + event.content)
        elif isinstance(event, Spoiled) and isinstance(before, Chunk):
            result[-1] = event
        elif not isinstance(event, Chunk) or event.content:
            result.append(event)
    return result


def greeted(**settings: bool) -> Client:
    client = Client(**settings)
    client.send(b"EHLO client.example\r\n")
    client.events.clear()
    client.said = b""
    return client


# -- Dialogues ------------------------------------------------------------------------------------


def test_a_message() -> None:
    client = greeted()
    assert client.send(ENVELOPE, b"DATA\r\n", b"Hello\r\n..\r\n.\r\nQUIT\r\nNOOP\r\n") == [
        MAIL,
        RCPT,
        Data(),
        Chunk(b"Hello\r\n.\r\n"),
        EndOfData(),
        Quit(),
    ]
    assert client.protocol.state is State.CLOSED
    assert client.said.count(b"\r\n") == 5


def test_a_message_in_chunks() -> None:
    client = greeted()
    assert client.send(ENVELOPE, b"BDAT 6\r\n.\r\n.\r\nBDAT 2\r\nxyBDAT 0 LAST\r\nNOOP\r\n") == [
        MAIL,
        RCPT,
        Bdat(6),
        Chunk(b".\r\n.\r\n"),
        EndOfChunk(),
        Bdat(2),
        Chunk(b"xy"),
        EndOfChunk(),
        Bdat(0, last=True),
        EndOfData(),
        Noop(),
    ]
    assert client.protocol.state in AT_REST


def test_the_octets_of_a_refused_chunk_are_no_commands() -> None:
    client = greeted()
    events = client.send(b"BDAT 6\r\nQUIT\r\nNOOP\r\n")
    assert [type(event) for event in events] == [Malformed, Noop]
    assert client.said.startswith(b"503 5.5.1 ")


def test_a_chunk_after_a_refused_chunk_is_refused_as_well() -> None:
    client = greeted()
    client.send(ENVELOPE)
    client.answers = (False,)
    events = client.send(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    assert [type(event) for event in events[2:]] == [Bdat, Chunk, EndOfChunk, Malformed, Noop]


def test_who_does_not_wait_for_the_answer_to_data_is_sent_away_when_it_is_no() -> None:
    client = greeted()
    events = client.send(b"DATA\r\nQUIT\r\n.\r\nMAIL FROM:<>\r\n")
    assert [type(event) for event in events] == [Malformed]
    assert client.protocol.state is State.CLOSED


def test_who_waits_may_stay() -> None:
    client = greeted()
    assert [type(event) for event in client.send(b"DATA\r\n", b"NOOP\r\n")] == [Malformed, Noop]
    assert client.protocol.state is State.READY


def test_nothing_behind_a_stray_line_end_is_read() -> None:
    client = greeted()
    events = client.send(ENVELOPE, b"DATA\r\n", b"a\n.\n\r\n.\r\n" + ENVELOPE)
    assert [type(event) for event in events] == [Mail, Rcpt, Data, Spoiled]
    assert client.protocol.state is State.CLOSED
    assert client.said.endswith(
        b"550 5.5.2 The message has a bare CR or LF; lines end with CR LF\r\n"
    )


def test_stray_line_ends_can_be_mended() -> None:
    client = greeted(repair=True)
    events = client.send(ENVELOPE, b"DATA\r\n", b"a\n.\nb\rc\r", b"\r\n.\r\nNOOP\r\n")
    assert events[3:] == [Chunk(b"a\r\n.\r\nb c \r\n"), EndOfData(), Noop()]


def test_a_line_that_is_too_long_spoils_the_message_and_nothing_else() -> None:
    client = greeted()
    events = client.send(ENVELOPE, b"DATA\r\n", b"a\r\n" + b"x" * 39 + b"\r\n.\r\nNOOP\r\n")
    assert [type(event) for event in events[3:] if not isinstance(event, Chunk)] == [Spoiled, Noop]
    assert b"554 5.6.0" in client.said
    assert client.protocol.state is State.READY


def test_extensions_that_are_not_in_force_are_not_implemented() -> None:
    client = Client()
    client.protocol.offer(frozenset())
    client.send(b"HELO client.example\r\n", ENVELOPE)
    events = client.send(b"BDAT 5\r\nQUIT\r\n")
    assert events[-1] == Malformed(Reply(502, "5.5.1", "Command not implemented", final=True))


def test_utf8_is_spoken_only_while_a_message_asks_for_it() -> None:
    client = greeted()
    address = "<jürgen@bücher.example>"
    client.send(f"MAIL FROM:{address} SMTPUTF8\r\n".encode())
    assert client.protocol.next_event() is None
    client.protocol.receive_data(f"RCPT TO:{address}\r\n".encode())
    client.protocol.next_event()
    assert (
        client.protocol.reply(Reply(250, "", f"{address} ok")) == f"250 {address} ok\r\n".encode()
    )
    client.protocol.receive_data(b"RSET\r\n")
    client.protocol.next_event()
    assert client.protocol.reply(Reply(250, "", "für dich")) == "250 für dich\r\n".encode()
    client.protocol.receive_data(b"NOOP\r\n")
    client.protocol.next_event()
    assert client.protocol.reply(Reply(250, "", "für dich")) == b"250 f?r dich\r\n"


def test_whatever_a_reply_of_lmtp_ends_is_over() -> None:
    client = greeted(lmtp=True)
    client.send(b"LHLO client.example\r\n", ENVELOPE, ENVELOPE[33:], b"DATA\r\n")
    client.protocol.receive_data(b"\r\n.\r\n")
    assert isinstance(client.protocol.next_event(), Chunk)
    assert client.protocol.next_event() == EndOfData()
    assert client.protocol.reply(Reply(250), Reply(550, final=True)) == b"250 \r\n550 \r\n"
    assert client.protocol.state is State.CLOSED


def test_every_event_is_answered_once() -> None:
    protocol = ServerProtocol()
    assert protocol.next_event() == Connected()
    with pytest.raises(RuntimeError, match="has not been answered"):
        protocol.next_event()
    protocol.reply(Reply(220))
    with pytest.raises(RuntimeError, match="nothing to answer"):
        protocol.reply(Reply(220))


def test_a_closed_protocol_keeps_nothing() -> None:
    client = greeted()
    client.protocol.receive_data(b"NOO")
    client.protocol.close()
    client.protocol.receive_data(b"P\r\n" * 1000)
    assert client.protocol.input.unread == 0
    assert client.protocol.next_event() is None


def test_what_is_unread_and_what_is_under_way() -> None:
    client = greeted()
    assert client.protocol.state in AT_REST
    client.send(ENVELOPE)
    assert client.protocol.state not in AT_REST
    client.protocol.receive_data(b"NOO")
    assert (client.protocol.input.unread, client.protocol.receiving) == (3, False)
    client.send(b"P\r\nDATA\r\n")
    assert (client.protocol.input.unread, client.protocol.receiving) == (0, True)


# -- Laws -----------------------------------------------------------------------------------------

inputs = st.lists(
    st.sampled_from(
        [
            b"EHLO client.example\r\n", b"HELO client.example\r\n", b"EHLO \r\n", b"NOOP\r\n",
            b"MAIL FROM:<anne@client.example>\r\n", b"RCPT TO:<bob@example.org>\r\n", ENVELOPE,
            ENVELOPE + b"DATA\r\n", b"DATA\r\n", b"BDAT 5\r\n", b"BDAT 3 LAST\r\n", b"BDAT 0\r\n",
            b"BDAT x\r\n", b"BDAT 99999999999999999999\r\n", b"hello", b".\r\n", b"..\r\n", b"\r\n",
            b"\r\n.\r\n", b"\r", b"\n", b".", b"x" * 39, b"x" * 70, b"\0", b"\xff", b"QUIT\r\n",
            b"RSET\r\n", b"\x16\x03", b"GET / HTTP/1.1\r\n", "RCPT TO:<ü@x>\r\n".encode(),
        ]
    ),
    max_size=14,
).map(lambda parts: b"EHLO client.example\r\n" + b"".join(parts))  # fmt: skip


#: Replies to a DATA that is out of turn.  From there on it matters whether the client has waited.
DATA_REFUSED = frozenset(reply.text for (_, kind), reply in OUT_OF_TURN.items() if kind is Data)


def conversation(
    pieces: Iterable[bytes], answers: Sequence[bool], *, repair: bool, verbatim: bool = False
) -> tuple[list[Event], State, bytes]:
    """The events of a session, how it ended and what it said; up to a DATA out of turn."""
    client = Client(*answers, repair=repair, verbatim=verbatim)
    events = client.send(*pieces)
    for place, event in enumerate(events):
        if isinstance(event, Malformed) and event.reply.text in DATA_REFUSED:
            return events[:place], State.READY, b""
    if events and isinstance(events[-1], Chunk):
        events.pop()  # nobody can tell yet what will become of it
    return events, client.protocol.state, client.said


@given(
    octets=inputs,
    places=st.lists(st.integers(0, 300), max_size=8),
    answers=st.lists(st.booleans(), min_size=1, max_size=5).map(tuple),
    repair=st.booleans(),
)
@example(
    octets=b"EHLO a\r\n" + ENVELOPE + b"BDAT 3\r\na\r\rBDAT 2 LAST\r\n\nb",
    places=[],
    answers=(True,),
    repair=False,
)
@settings(deadline=None, max_examples=300)
def test_events_are_the_same_in_any_split(
    octets: bytes, places: list[int], answers: tuple[bool, ...], repair: bool
) -> None:
    edges = [0, *sorted(min(place, len(octets)) for place in places), len(octets)]
    whole = conversation([octets], answers, repair=repair)
    assert whole == conversation(
        [octets[start:end] for start, end in pairwise(edges)], answers, repair=repair
    )
    assert whole == conversation([bytes((octet,)) for octet in octets], answers, repair=repair)
    assert whole == conversation([octets], answers, repair=repair, verbatim=True)


REPLY = re.compile(rb"(?:([2-5]\d\d)-[^\r\n]*\r\n(?=\1))*[2-5]\d\d [^\r\n]*\r\n")


@given(
    octets=st.lists(st.one_of(st.binary(max_size=50), inputs), max_size=5).map(b"".join),
    answers=st.lists(st.booleans(), min_size=1, max_size=5),
    lmtp=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_no_bytes_raise_anything_and_every_reply_is_well_formed(
    octets: bytes, answers: list[bool], lmtp: bool
) -> None:
    client = Client(*answers, lmtp=lmtp)
    client.send(octets)
    assert re.fullmatch(rb"(?:" + REPLY.pattern.replace(rb"\1", rb"[2-5]") + rb")*", client.said)
    assert all(len(line) <= 510 for line in client.said.split(b"\r\n"))


@given(
    text=st.lists(
        st.sampled_from([b"\r\n", b".", b"..", b"x", b"\0", b"\xff", b"\r\n.\r\n", b"\r\n."]),
        max_size=20,
    ).map(b"".join),
    places=st.lists(st.integers(0, 60), max_size=4),
)
@settings(deadline=None, max_examples=300)
def test_a_stuffed_message_arrives_as_it_was(text: bytes, places: list[int]) -> None:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    stuffing = Stuffing()
    stuffed = b"".join(stuffing.stuff(text[start:end]) for start, end in pairwise(edges))
    client = greeted()
    events = client.send(ENVELOPE, b"DATA\r\n", stuffed + stuffing.end() + b".\r\n", b"NOOP\r\n")
    message = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
    assert events[3:] == [*([Chunk(message)] if message else []), EndOfData(), Noop()]


@given(
    text=st.lists(st.sampled_from([b"\r\n", b".", b"x", b"\0", b"\xff"]), max_size=20).map(
        b"".join
    ),
    places=st.lists(st.integers(0, 40), max_size=4),
)
@settings(deadline=None, max_examples=200)
def test_chunks_arrive_as_they_were(text: bytes, places: list[int]) -> None:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    chunks = [text[start:end] for start, end in pairwise(edges)]
    client = greeted()
    client.send(ENVELOPE, *(b"BDAT %d\r\n%s" % (len(chunk), chunk) for chunk in chunks))
    client.send(b"BDAT 0 LAST\r\n")
    assert b"".join(event.content for event in client.events if isinstance(event, Chunk)) == text
    assert client.events[-1] == EndOfData()
