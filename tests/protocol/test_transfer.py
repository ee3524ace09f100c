from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.address import Address
from gatepost.protocol.client import Answered, ClientProtocol
from gatepost.protocol.envelope import EIGHT_BIT, STRAY, Envelope
from gatepost.protocol.events import Bdat, Chunk, Connected, Data, EndOfData, Mail, Rcpt, Spoiled
from gatepost.protocol.parameters import MailParameters
from gatepost.protocol.server import ServerProtocol
from gatepost.protocol.stages import Stage
from gatepost.protocol.stuffing import Survey
from gatepost.protocol.transfer import ONE_PIECE, Outcome, Transfer
from gatepost.reply import Reply

LETTER = b"Subject: a\r\n\r\n.b\r\n..\r\n"
ANNE = Address("anne", "a.example")
LOST = Reply(451, "4.4.2", "lost")


@dataclass
class Scripted:
    """A server that says what it was told to, without sockets; `received` is what it took."""

    mail: bytes = b"250"
    rcpt: tuple[bytes, ...] = (b"250",)
    data: bytes = b"354"
    end: tuple[bytes, ...] = (b"250",)  #: after the dot: one, or in LMTP one for each accepted
    rset: bytes = b"250"
    offers: str = ""
    lmtp: bool = False

    commands: list[bytes] = field(default_factory=list)
    received: bytes = b""
    said: bytes = b""
    _lines: bytes = b""
    _in_data: bool = False
    _chunk: int = -1
    _rcpts: int = 0

    def receive(self, octets: bytes) -> bytes:
        """Take octets, say something."""
        self._lines += octets
        said = b""
        while (more := self._step()) is not None:
            said += more
        self.said += said
        return said

    def _step(self) -> bytes | None:
        if self._chunk >= 0:
            return self._take_chunk()
        if self._in_data:
            return self._take_data()
        line, end, rest = self._lines.partition(b"\r\n")
        if not end:
            return None
        self._lines = rest
        self.commands.append(line)
        return self._command(line)

    def _take_chunk(self) -> bytes | None:
        if len(self._lines) < self._chunk:
            return None
        self.received, self._lines = self._lines[: self._chunk], self._lines[self._chunk :]
        self._chunk = -1
        return self._said(*self.end)

    def _take_data(self) -> bytes | None:
        text, end, rest = (b"\r\n" + self._lines).partition(b"\r\n.\r\n")
        if not end:
            return None
        self.received, self._lines = (text + b"\r\n")[2:].replace(b"\r\n.", b"\r\n"), rest
        self.received = self.received.removeprefix(b".")
        self._in_data = False
        return self._said(*self.end)

    def _command(self, line: bytes) -> bytes:
        verb = line.split()[0]
        if verb == b"MAIL":
            self._rcpts = 0
            return self._said(self.mail)
        if verb == b"RCPT":
            self._rcpts += 1
            return self._said(self.rcpt[self._rcpts - 1])
        if verb == b"BDAT":
            self._chunk = int(line.split()[1])
            return b""
        if verb == b"DATA":
            self._in_data = self.data == b"354"
            return self._said(self.data)
        assert verb == b"RSET"
        return self._said(self.rset)

    def _said(self, *codes: bytes) -> bytes:
        return b"".join(code + b" x%d\r\n" % i for i, code in enumerate(codes))


def session(offers: str = "", *, lmtp: bool = False) -> ClientProtocol:
    """A client's session at rest, with a server that offers these extensions."""
    protocol = ClientProtocol("client.example", lmtp=lmtp)
    protocol.receive_data(b"220 mx.example\r\n")
    assert isinstance(protocol.next_event(), Answered)
    protocol.hello()
    lines = ["mx.example", *offers.split()]
    protocol.receive_data(("250-" + "\r\n250-".join(lines) + "\r\n250 HELP\r\n").encode())
    assert isinstance(protocol.next_event(), Answered)
    return protocol


def transfer(protocol: ClientProtocol, recipients: int, content: list[bytes]) -> Transfer:
    survey = Survey()
    for piece in content:
        survey.add(piece)
    envelope = Envelope(ANNE, tuple(Address(f"r{i}", "b.example") for i in range(recipients)))
    return Transfer(protocol, envelope, content=content, survey=survey)


def run(
    server: Scripted, content: list[bytes], *, heard: int = -1, splits: Iterator[int] | None = None
) -> tuple[Outcome, ClientProtocol]:
    """Carry a transfer to its end; the line breaks after the server's first `heard` octets."""
    protocol = session(server.offers, lmtp=server.lmtp)
    way = transfer(protocol, len(server.rcpt), content)
    outbox, inbox, left = way.start(), b"", heard
    while not way.done:
        inbox += server.receive(outbox)
        outbox = b""
        if way.wants_content:
            outbox = b"".join(way.pieces())
            continue
        size = next(splits) if splits else len(inbox)
        size = size if left < 0 else min(size, left)
        piece, inbox = inbox[:size], inbox[size:]
        left -= size if left > 0 else 0
        if not piece and left == 0:
            way.fail(LOST, protocol.awaited or Stage.END_OF_DATA)
            break
        protocol.receive_data(piece)
        while not way.done and (event := protocol.next_event()) is not None:
            assert isinstance(event, Answered), event
            outbox += way.receive(event)
    return way.outcome, protocol


def codes(outcome: Outcome) -> list[int]:
    return [reply.code for reply in outcome.replies]


PIPELINED = "PIPELINING"
CHUNKED = "PIPELINING CHUNKING"


@pytest.mark.parametrize("offers", ["", PIPELINED, "CHUNKING", CHUNKED])
@pytest.mark.parametrize(
    ("server", "result", "stage"),
    [
        (Scripted(), [250], Stage.END_OF_DATA),
        (Scripted(mail=b"550", rcpt=(b"503", b"503"), data=b"503"), [550, 550], Stage.MAIL),
        (Scripted(mail=b"450", rcpt=(b"503", b"503"), data=b"503"), [450, 450], Stage.MAIL),
        (Scripted(rcpt=(b"550", b"451"), data=b"554"), [550, 451], Stage.RCPT),
        (Scripted(rcpt=(b"550", b"251", b"451")), [550, 250, 451], Stage.END_OF_DATA),
        (Scripted(rcpt=(b"550", b"250"), end=(b"554",)), [550, 554], Stage.END_OF_DATA),
        (Scripted(end=(b"452",)), [452], Stage.END_OF_DATA),
        (Scripted(rcpt=(b"550",), data=b"354", end=(b"554",)), [550], Stage.RCPT),
        (Scripted(rcpt=(b"550",), data=b"354", end=(b"250",)), [550], Stage.RCPT),
        (Scripted(rcpt=(b"550",), data=b"503", rset=b"500"), [550], Stage.RCPT),
    ],
)
def test_each_recipient_gets_the_reply_that_decided(
    server: Scripted, result: list[int], stage: Stage, offers: str
) -> None:
    server = replace(server, offers=offers, commands=[])
    outcome, protocol = run(server, [LETTER])
    assert codes(outcome) == result
    assert outcome.stage is stage
    assert outcome.judged
    assert outcome.delivered == (set(result) == {250})
    if any(code == 250 for code in result):
        assert server.received == LETTER
    assert protocol.at_rest == (server.rset == b"250")


@pytest.mark.parametrize("offers", ["", PIPELINED])
@pytest.mark.parametrize(
    ("data", "stage"), [(b"451", Stage.DATA), (b"554", Stage.DATA), (b"421", Stage.DATA)]
)
def test_data_refused(offers: str, data: bytes, stage: Stage) -> None:
    outcome, protocol = run(Scripted(rcpt=(b"550", b"250"), data=data, offers=offers), [LETTER])
    assert codes(outcome) == [550, int(data)]
    assert outcome.stage is stage
    assert protocol.at_rest == (data != b"421")


@pytest.mark.parametrize(
    ("offers", "wire"),
    [
        ("", [b"MAIL", b"RCPT", b"RCPT", b"DATA"]),
        (PIPELINED, [b"MAIL", b"RCPT", b"RCPT", b"DATA"]),
        (CHUNKED, [b"MAIL", b"RCPT", b"RCPT", b"BDAT 22 LAST"]),
    ],
)
def test_the_commands_of_a_message(offers: str, wire: list[bytes]) -> None:
    server = Scripted(rcpt=(b"250", b"250"), offers=offers)
    run(server, [LETTER])
    assert [command.partition(b" ")[0] for command in server.commands[:-1]] == wire[:-1]
    assert server.commands[-1] == wire[-1]


def test_nothing_is_sent_behind_a_refusal_where_commands_wait() -> None:
    server = Scripted(mail=b"550")
    run(server, [LETTER])
    assert server.commands == [b"MAIL FROM:<anne@a.example>"]


def test_with_pipelining_the_envelope_is_one_batch() -> None:
    assert transfer(session(PIPELINED), 2, [LETTER]).start() == (
        b"MAIL FROM:<anne@a.example>\r\n"
        b"RCPT TO:<r0@b.example>\r\n"
        b"RCPT TO:<r1@b.example>\r\n"
        b"DATA\r\n"
    )


def test_no_content_goes_to_a_server_that_has_accepted_nobody() -> None:
    # A server that forgets to drop the octets of a refused BDAT would run them as commands (F11).
    way = transfer(session(CHUNKED), 1, [b"RSET\r\n"])
    assert way.start() == b"MAIL FROM:<anne@a.example>\r\nRCPT TO:<r0@b.example>\r\n"


@pytest.mark.parametrize(
    ("offers", "content", "objection"),
    [(CHUNKED, b"a\r\n.\n.\r\n", STRAY), ("", b"a\r\n.\r.\r\n", STRAY), ("", b"\xe9", EIGHT_BIT)],
)
def test_what_may_not_be_sent_is_refused_without_a_word(
    offers: str, content: bytes, objection: Reply
) -> None:
    server = Scripted(rcpt=(b"250", b"250"), offers=offers)
    outcome, protocol = run(server, [content])
    assert outcome == Outcome((objection, objection), Stage.CHECK, judged=True)
    assert server.commands == []
    assert protocol.at_rest


@pytest.mark.parametrize("offers", ["", PIPELINED, CHUNKED])
@pytest.mark.parametrize(
    ("rcpt", "end", "result"),
    [
        ((b"250", b"250", b"250"), (b"250", b"452", b"250"), [250, 452, 250]),
        ((b"550", b"250", b"250"), (b"554", b"250"), [550, 554, 250]),
        ((b"250", b"550", b"250"), (b"250", b"550"), [250, 550, 550]),
    ],
)
def test_lmtp_answers_for_each_recipient(
    offers: str, rcpt: tuple[bytes, ...], end: tuple[bytes, ...], result: list[int]
) -> None:
    server = Scripted(rcpt=rcpt, end=end, offers=offers, lmtp=True)
    outcome, protocol = run(server, [LETTER])
    assert codes(outcome) == result
    assert protocol.at_rest
    assert server.commands[-1] == b"DATA"


def test_lmtp_with_nobody_accepted_and_354_cannot_go_on() -> None:
    server = Scripted(rcpt=(b"550",), offers=PIPELINED, lmtp=True)
    outcome, protocol = run(server, [LETTER])
    assert codes(outcome) == [550]
    assert server.received == b""
    assert not protocol.at_rest


def test_binary_goes_out_in_a_chunk_or_not_at_all() -> None:
    octets = b"\x00\n.\n\r\xff"
    envelope = Envelope(ANNE, (ANNE,), MailParameters(body="BINARYMIME"))
    survey = Survey()
    survey.add(octets)
    protocol = session("PIPELINING CHUNKING BINARYMIME", lmtp=True)
    way = Transfer(protocol, envelope, content=[octets], survey=survey)
    assert way.start().startswith(b"MAIL FROM:<anne@a.example> BODY=BINARYMIME\r\n")
    protocol.receive_data(b"250 a\r\n250 b\r\n")
    while (event := protocol.next_event()) is not None:
        assert isinstance(event, Answered)
        assert way.receive(event) == b""
    assert b"".join(way.pieces()) == b"BDAT 6 LAST\r\n" + octets


def test_a_message_that_changes_on_the_way_is_never_ended() -> None:
    for offers, content in ((PIPELINED, [LETTER]), (CHUNKED, [LETTER] * 3)):
        server = Scripted(offers=offers)
        protocol = session(offers)
        way = transfer(protocol, 1, [LETTER] * 2)
        way._content = content
        protocol.receive_data(server.receive(way.start()))
        while (event := protocol.next_event()) is not None:
            assert isinstance(event, Answered)
            protocol.receive_data(server.receive(way.receive(event)))
        with pytest.raises(RuntimeError, match="has changed"):
            list(way.pieces())
        assert not way.sent
        assert not protocol.at_rest


def test_a_big_message_goes_out_in_pieces() -> None:
    content = [b"x" * 998 + b"\r\n"] * (ONE_PIECE // 1000 + 1)
    server = Scripted(offers=PIPELINED)
    protocol = session(PIPELINED)
    way = transfer(protocol, 1, content)
    protocol.receive_data(server.receive(way.start()))
    while (event := protocol.next_event()) is not None:
        assert isinstance(event, Answered)
        way.receive(event)
    pieces = list(way.pieces())
    assert pieces == [*content, b".\r\n"]
    assert way.sent


OUTCOMES = [b"250", b"450", b"550"]


@st.composite
def servers(draw: st.DrawFn) -> Scripted:
    """Servers of every kind that a sound one can be."""
    mail = draw(st.sampled_from(OUTCOMES))
    count = draw(st.integers(1, 4))
    rcpt = tuple(
        draw(st.sampled_from(OUTCOMES)) if mail == b"250" else b"503" for _ in range(count)
    )
    lmtp = draw(st.booleans())
    accepted = rcpt.count(b"250")
    data = draw(st.sampled_from([b"354", b"451", b"554"]) if accepted else st.just(b"503"))
    end = tuple(draw(st.sampled_from(OUTCOMES)) for _ in range(accepted if lmtp else 1))
    offers = draw(st.sampled_from(["", PIPELINED, "CHUNKING", CHUNKED]))
    return Scripted(mail, rcpt, data, end, b"250", offers, lmtp)


def expected(server: Scripted) -> list[int]:
    """What each recipient is told, by the standards."""
    if server.mail != b"250":
        return [int(server.mail)] * len(server.rcpt)
    with_bdat = "CHUNKING" in server.offers and not server.lmtp
    last = list(server.end)
    result = []
    for code in server.rcpt:
        if code != b"250":
            result.append(int(code))
        elif server.data != b"354" and not with_bdat:
            result.append(int(server.data))
        else:
            result.append(int(last.pop(0) if server.lmtp else last[0]))
    return result


LETTERS = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"Subject: x", b""])).map(b"".join)


@given(servers(), LETTERS, st.data())
def test_every_sound_server_in_every_split(
    server: Scripted, letter: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(letter)))

    def splits() -> Iterator[int]:
        while True:
            yield data.draw(st.integers(1, 30))

    outcome, protocol = run(server, [letter[:cut], letter[cut:]], splits=splits())
    assert codes(outcome) == expected(server)
    assert protocol.at_rest
    if 250 in codes(outcome):
        assert server.received in (letter, letter + b"\r\n")
        assert server.received == letter or not letter.endswith(b"\r\n")


@given(servers(), st.data())
def test_a_line_that_breaks_anywhere_never_makes_a_success(
    server: Scripted, data: st.DataObject
) -> None:
    whole = replace(server, commands=[])
    run(whole, [LETTER])
    said = whole.said.removesuffix(b"250 x0\r\n") if whole.commands[-1] == b"RSET" else whole.said
    heard = data.draw(st.integers(0, len(said)))
    outcome, _ = run(server, [LETTER], heard=heard)
    for code, decided in zip(codes(outcome), expected(server), strict=True):
        assert code in (decided, LOST.code)
    # A reply counts when its line is whole; each recipient's last word is among the last ones.
    owed = len(server.end) if server.received else 0
    if said[:heard].count(b"\r\n") <= said.count(b"\r\n") - owed:
        assert 250 not in codes(outcome)
    assert outcome.judged == (heard >= len(b"250 x0\r\n"))


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from(["", PIPELINED, CHUNKED]))
def test_whatever_a_server_says_there_is_an_outcome(said: list[bytes], offers: str) -> None:
    protocol = session(offers)
    way = transfer(protocol, 2, [LETTER])
    way.start()
    for data in said:
        protocol.receive_data(data)
        while not way.done and isinstance(event := protocol.next_event(), Answered):
            way.receive(event)
        if not way.done and way.wants_content:
            list(way.pieces())
    if not way.done:
        way.fail(LOST, Stage.END_OF_DATA)
    assert len(way.outcome.replies) == 2


@given(LETTERS, st.sampled_from(["", PIPELINED, CHUNKED]), st.booleans())
def test_our_server_understands_our_client(letter: bytes, offers: str, lmtp: bool) -> None:
    server = ServerProtocol(lmtp=lmtp)
    server.offer(frozenset(offers.split()))
    client = ClientProtocol("client.example", lmtp=lmtp)
    told: list[object] = []

    def serve(octets: bytes) -> None:
        server.receive_data(octets)
        while (event := server.next_event()) is not None:
            told.append(event)
            if isinstance(event, Chunk | Bdat):
                continue
            reply = Reply(220) if isinstance(event, Connected) else Reply(250, "", "mx")
            if type(event).__name__ in ("Ehlo", "Lhlo"):
                reply = Reply(250, "", "\n".join(["mx", *offers.split()]))
            elif isinstance(event, Data):
                reply = Reply(354)
            more = [reply] if lmtp and isinstance(event, EndOfData) else []
            client.receive_data(server.reply(reply, *more))

    serve(b"")
    assert isinstance(client.next_event(), Answered)
    serve(client.hello())
    assert isinstance(client.next_event(), Answered)
    way = transfer(client, 2, [letter])
    serve(way.start())
    while not way.done:
        event = client.next_event()
        assert isinstance(event, Answered)
        serve(way.receive(event))
        if way.wants_content:
            serve(b"".join(way.pieces()))
    assert way.outcome.delivered
    assert not any(isinstance(event, Spoiled) for event in told)
    assert [event.recipient.local for event in told if isinstance(event, Rcpt)] == ["r0", "r1"]
    assert [event.sender for event in told if isinstance(event, Mail)] == [ANNE]
    got = b"".join(event.content for event in told if isinstance(event, Chunk))
    assert got == letter or (not letter.endswith(b"\r\n") and got == letter + b"\r\n")
