"""AUTH, from the offer to the answer: RFC 4954, and what guessers get."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

import pytest

from gatepost import (
    Accept,
    Answer,
    Credentials,
    Decision,
    Defer,
    Deny,
    Password,
    PlainSecret,
    Plugin,
    Recipient,
    Session,
    Transaction,
    Verdict,
)
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.plugin import Supply
from gatepost.server.conversation import Conversation
from gatepost.server.guesses import Guesses
from gatepost.site import Site
from gatepost.testing import LMTP, MX, a_session, converse, run

CLEAR = replace(MX, auth_without_tls=True)
BOTH = replace(MX, tls="starttls")

HELLO = "S: 220 ...\nC: EHLO client.example\nS: 250 ...\n"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


RIGHT = b64("\0anne\0secret")
WRONG = b64("\0anne\0guess")
NOBODY = b64("\0nobody\0guess")


@dataclass
class Knows(Plugin):
    """Knows anne, whose password is secret, and writes down whom it was asked about."""

    asked: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        self.asked.append(repr(credentials))
        if not isinstance(credentials, Password) or credentials.user != "anne":
            return None
        return Accept() if credentials.password == "secret" else Deny()

    def authenticated(self, session: Session) -> None:
        self.heard.append(f"{session.user} by {session.mechanism}")


@dataclass
class KnowsSecrets(Plugin):
    """Has anne's secret for the mechanisms that want one."""

    refuses: bool = False

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "SCRAM-SHA-256", "CRAM-MD5")

    def secret(self, session: Session, user: str, mechanism: str) -> Supply:
        return PlainSecret("secret") if user == "anne" else None

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        return Deny("Your account is locked") if self.refuses else None


@dataclass
class Answers(Plugin):
    """Says the same to all credentials."""

    verdict: Verdict | Exception
    name: str = ""

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "PLAIN", "OAUTHBEARER", "EXTERNAL")

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if self.name:
            credentials.user = self.name
        return self.verdict


def talk(plugins: list[Plugin], script: str, **keys: object) -> Session:
    return run(converse(plugins, HELLO + script, **{"tls": True, **keys}))  # type: ignore[arg-type]  # the test's own keys


# -- What is offered ------------------------------------------------------------------------------


def test_nothing_is_offered_that_nobody_answers_for() -> None:
    talk([], "C: AUTH PLAIN\nS: 502 5.5.1 ...")


def test_passwords_are_for_tls_alone() -> None:
    script = f"""
        S: 220 ...
        C: EHLO client.example
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-SIZE ...
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-ENHANCEDSTATUSCODES
        S: 250-LIMITS ...
        S: 250-HELP
        S: 250 STARTTLS
        C: AUTH PLAIN {RIGHT}
        S: 538 5.7.11 ...
        C: STARTTLS
        S: 220 2.0.0 Go ahead
        C: <tls>
        C: AUTH PLAIN {RIGHT}
        S: 503 5.5.1 Say EHLO first
        C: EHLO client.example
        S: 250 ... HELP AUTH PLAIN LOGIN
        C: STARTTLS
        S: 503 5.5.1 TLS is up already
        C: AUTH PLAIN {RIGHT}
        S: 235 2.7.0 ...
        """
    session = run(converse([Knows()], script, listen=BOTH))
    assert (session.user, session.mechanism, session.relaying) == ("anne", "PLAIN", True)


def test_a_listener_may_allow_them_in_clear() -> None:
    script = f"{HELLO}C: AUTH PLAIN {RIGHT}\nS: 235 ..."
    assert run(converse([Knows()], script, listen=CLEAR)).user == "anne"


def test_mechanisms_that_show_no_password_are_offered_in_clear() -> None:
    script = "S: 220 ...\nC: EHLO x\nS: 250 ... AUTH SCRAM-SHA-256 CRAM-MD5"
    run(converse([KnowsSecrets()], script))


def test_a_plugin_may_take_a_mechanism_away() -> None:
    class NoLogin(Plugin):
        def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in offered if name != "LOGIN")

    script = "S: 220 ...\nC: EHLO x\nS: 250 ... AUTH PLAIN\nC: AUTH LOGIN\nS: 504 5.5.4 ..."
    run(converse([Knows(), NoLogin()], script, tls=True))


def test_what_is_taken_away_from_the_lines_is_not_honoured() -> None:
    class Hides(Plugin):
        def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(line for line in offered if not line.startswith("AUTH"))

    talk([Knows(), Hides()], f"C: AUTH PLAIN {RIGHT}\nS: 502 5.5.1 ...")


def test_who_has_authenticated_is_offered_it_no_more() -> None:
    script = f"C: AUTH PLAIN {RIGHT}\nS: 235 ...\nC: EHLO x\nS: 250 ... HELP"
    talk([Knows()], script)


# -- The exchange ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        (f"AUTH PLAIN {RIGHT}", []),
        (f"auth plain {RIGHT}", []),
        ("AUTH PLAIN", [("334", RIGHT)]),
        ("AUTH LOGIN", [("334 VXNlcm5hbWU6", b64("anne")), ("334 UGFzc3dvcmQ6", b64("secret"))]),
        (f"AUTH LOGIN {b64('anne')}", [("334 UGFzc3dvcmQ6", b64("secret"))]),
    ],
)
def test_the_right_password(command: str, answers: list[tuple[str, str]]) -> None:
    knows = Knows()
    lines = [f"C: {command}"]
    for challenge, response in answers:
        lines += [f"S: {challenge}", f"C: {response}"]
    session = talk([knows], "\n".join([*lines, "S: 235 2.7.0 Authentication succeeded"]))
    assert session.user == "anne"
    assert knows.heard == [f"anne by {session.mechanism}"]
    assert "secret" not in knows.asked[0]  # the repr tells no password
    [result] = session.trail.results
    assert (result.method, result.outcome, result.properties) == (
        "auth", "pass", (("smtp.auth", "anne"),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "response", "reply"),
    [
        ("AUTH PLAIN", "*", "501 5.7.0"),
        ("AUTH PLAIN", "no base64!", "501 5.5.2"),
        ("AUTH PLAIN", "AGE", "501 5.5.2"),  # its padding is missing
        ("AUTH PLAIN", "\\xff", "501 5.5.2"),
        ("AUTH PLAIN", b64("anne"), "501 5.5.2"),
        ("AUTH PLAIN", "", "501 5.5.2"),
        ("AUTH PLAIN", "x" * 13_000, "500 5.5.6"),
        ("AUTH PLAIN =", None, "501 5.5.2"),
        ("AUTH PLAIN !!!!", None, "501 5.5.2"),
        ("AUTH PLAIN a b", None, "501 5.5.4"),
        (f"AUTH PLAIN {'x' * 13_000}", None, "500 5.5.6"),
        ("AUTH FROB", None, "504 5.5.4"),
        ("AUTH", None, "501 5.5.4"),
        ("AUTH LOGIN", "*", "501 5.7.0"),
    ],
)
def test_what_is_wrong_with_an_exchange(command: str, response: str | None, reply: str) -> None:
    script = f"C: {command}\n"
    if response is not None:
        script += f"S: 334 ...\nC: {response}\n"
    # Whatever went wrong, the next line is a command again.
    session = talk([Knows()], f"{script}S: {reply} ...\nC: NOOP\nS: 250 ...")
    assert session.user == ""


def test_a_long_token_fits() -> None:
    token = b64(f"n,a=anne,\x01auth=Bearer {'x' * 6000}\x01\x01")
    assert talk([Answers(Accept())], f"C: AUTH OAUTHBEARER {token}\nS: 235 ...").user == "anne"


def test_a_long_line_of_another_command_stays_too_long() -> None:
    talk([Knows()], f"C: NOOP {'x' * 3000}\nS: 500 5.5.2 ...\nC: NOOP\nS: 250 ...")
    talk([Knows()], f"C: BDAT {'1' * 3000}\nS: 500 5.5.2 ...\nS: <closed>")


def test_a_response_is_no_command() -> None:
    talk([Knows()], "C: AUTH PLAIN\nS: 334 ...\nC: QUIT\nS: 501 5.5.2 ...\nC: NOOP\nS: 250 ...")


def test_a_server_first_mechanism_takes_no_initial_response() -> None:
    talk([KnowsSecrets()], f"C: AUTH CRAM-MD5 {b64('anne')}\nS: 501 5.5.2 ...")


@pytest.mark.parametrize("when", ["C: MAIL FROM:<a@client.example>\nS: 250 ...\n"])
def test_not_within_a_message(when: str) -> None:
    talk([Knows()], f"{when}C: AUTH PLAIN {RIGHT}\nS: 503 5.5.1 ...")


def test_only_once() -> None:
    talk([Knows()], f"C: AUTH PLAIN {RIGHT}\nS: 235 ...\nC: AUTH PLAIN {RIGHT}\nS: 503 5.5.1 ...")


def test_not_before_ehlo_and_not_after_helo() -> None:
    script = f"S: 220 ...\nC: AUTH PLAIN {RIGHT}\nS: 503 5.5.1 ...\nC: HELO x\nS: 250 ...\n"
    run(converse([Knows()], f"{script}C: AUTH PLAIN {RIGHT}\nS: 502 5.5.1 ...", tls=True))


def test_lmtp_clients_authenticate_as_well() -> None:
    script = f"S: 220 ...\nC: LHLO x\nS: 250 ...\nC: AUTH PLAIN {RIGHT}\nS: 235 ..."
    run(converse([Knows()], script, listen=LMTP, tls=True))


# -- The verdict ----------------------------------------------------------------------------------


@pytest.mark.parametrize("response", [WRONG, NOBODY])
def test_a_wrong_password_and_an_unknown_user_hear_the_same(response: str) -> None:
    session = talk([Knows()], f"C: AUTH PLAIN {response}\nS: 535 5.7.8 Authentication failed")
    assert not session.user
    assert not session.relaying
    assert session.trail.results[0].outcome == "fail"


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (Defer(), "454 4.7.0"),
        (KeyError("the database is gone"), "454 4.7.0"),
        (Deny("Use an app password"), "535 5.7.8 Use an app password"),
        (Accept("Welcome"), "235 2.7.0 Welcome"),
    ],
)
def test_what_a_plugin_says(verdict: Verdict | Exception, reply: str) -> None:
    logging.disable(logging.CRITICAL)
    try:
        talk([Answers(verdict)], f"C: AUTH PLAIN {RIGHT}\nS: {reply} ...".replace(" ...", "..."))
    finally:
        logging.disable(logging.NOTSET)


def test_a_plugin_may_know_the_user_by_another_name() -> None:
    assert (
        talk([Answers(Accept(), "anne@x")], f"C: AUTH PLAIN {RIGHT}\nS: 235 ...").user == "anne@x"
    )


def test_nobody_is_authenticated_without_a_name(caplog: pytest.LogCaptureFixture) -> None:
    token = b64("n,,\x01auth=Bearer abc\x01\x01")
    session = talk([Answers(Accept())], f"C: AUTH OAUTHBEARER {token}\nS: 454 4.7.0 ...")
    assert not session.user
    assert "nobody by name" in caplog.text


def test_a_refused_token_is_explained_first() -> None:
    token = b64("n,a=anne,\x01auth=Bearer abc\x01\x01")
    script = f"C: AUTH OAUTHBEARER {token}\nS: 334 ...\nC: AQ==\nS: 535 5.7.8 ..."
    assert not talk([Answers(Deny())], script).user


def test_silence_accepts_who_has_proved_it_and_a_plugin_may_refuse() -> None:
    assert _by_cram_md5(KnowsSecrets()) == "235"
    assert _by_cram_md5(KnowsSecrets(refuses=True)) == "535"


def _by_cram_md5(plugin: Plugin) -> str:
    async def hold() -> str:
        conversation = Conversation(
            a_session(), Chain([(plugin, Placement("it"))]), Site("mx.example")
        )
        await conversation.respond()
        conversation.receive_data(b"EHLO x\r\nAUTH CRAM-MD5\r\n")
        challenge = (await conversation.respond()).splitlines()[-1].split()[1]
        digest = hmac.new(b"secret", base64.b64decode(challenge), "md5").hexdigest()
        conversation.receive_data(base64.b64encode(f"anne {digest}".encode()) + b"\r\n")
        return (await conversation.respond())[:3].decode()

    return asyncio.run(hold())


# -- Guessing -------------------------------------------------------------------------------------


def test_after_three_failures_it_is_over() -> None:
    again = f"C: AUTH PLAIN {WRONG}\nS: 535 5.7.8 ...\n"
    talk([Knows()], f"{again * 2}C: AUTH PLAIN {NOBODY}\nS: 421 4.7.0 ...\nS: <closed>")
    limits = Limits(auth_failures=1)
    talk([Knows()], f"C: AUTH PLAIN {WRONG}\nS: 421 4.7.0 ...\nS: <closed>", limits=limits)


def test_who_comes_from_where_too_many_have_failed_is_not_heard() -> None:
    limits = Limits(auth_failures_per_address=1, auth_failures=5)
    tried = f"C: AUTH PLAIN {WRONG}\nS: 535 5.7.8 ...\n"
    refused = f"C: AUTH PLAIN {RIGHT}\nS: 421 4.7.0 Too many failed ... your address\nS: <closed>"
    session = talk([Knows()], tried + refused, limits=limits)
    assert session.trail.results[-1].text == "auth_failures_per_address"
    accepted = f"C: AUTH PLAIN {RIGHT}\nS: 235 ..."
    talk([Knows()], tried + accepted, limits=Limits(auth_failures_per_address=0))
    talk([Trusting(), Knows()], tried + accepted, limits=limits)


class Trusting(Plugin):
    """Exempts everybody."""

    def connect(self, session: Session) -> None:
        session.allow("a web mail server of ours")


def test_a_network_of_many_addresses_is_one_client() -> None:
    async def hold() -> list[str]:
        guesses, answers = Guesses(), list[str]()
        site = Site("mx.example", limits=Limits(auth_failures_per_address=1))
        for host in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            chain = Chain([(Knows(), Placement("it"))])
            conversation = Conversation(a_session(host), chain, site, listen=CLEAR, guesses=guesses)
            await conversation.respond()
            conversation.receive_data(f"EHLO x\r\nAUTH PLAIN {WRONG}\r\n".encode())
            answers.append((await conversation.respond()).splitlines()[-1][:3].decode())
        return answers

    assert asyncio.run(hold()) == ["535", "421", "535"]


def test_a_failure_has_to_wait_for_its_answer() -> None:
    async def hold(response: str) -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await converse([Knows()], f"{HELLO}C: AUTH PLAIN {response}\nS: ...", tls=True)
        return loop.time() - before

    # On a busy machine anything takes longer than it would.
    assert run(hold(RIGHT)) < 0.45
    assert 0.45 < run(hold(WRONG)) < 0.95
    assert 0.45 < run(hold(NOBODY)) < 0.95


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    talk([Knows()], f"C: AUTH PLAIN {WRONG}\nS: 535 ...\nC: AUTH PLAIN {RIGHT}\nS: 235 ...")
    assert "anne" in caplog.text
    for secret in ("secret", "guess", RIGHT, WRONG):
        assert secret not in caplog.text


# -- What follows ---------------------------------------------------------------------------------


@dataclass
class Suspects(Plugin):
    """Holds it against everybody that they came."""

    def connect(self, session: Session) -> Answer:
        return Deny("You are on a list")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return None


class TakesAll(Plugin):
    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()


def test_what_was_held_against_the_client_is_forgotten() -> None:
    placement = Placement("suspects", "suspects", mode="later", unless=("authenticated",))
    mail = "C: MAIL FROM:<a@x.example>\nS: 250 ...\nC: RCPT TO:<b@y.example>\n"
    plugins: list[Plugin | tuple[Plugin, Placement]] = [
        (Suspects(), placement),
        Knows(),
        TakesAll(),
    ]
    run(converse(plugins, f"{HELLO}{mail}S: 554 ...".replace("554", "55..."), tls=True))
    run(converse(plugins, f"{HELLO}C: AUTH PLAIN {RIGHT}\nS: 235 ...\n{mail}S: 250 ...", tls=True))


REQUIRED = replace(MX, tls="starttls", require_tls=True, require_auth=True)


def test_a_listener_may_demand_tls_and_authentication() -> None:
    script = f"""
        {HELLO}
        C: MAIL FROM:<anne@client.example>
        S: 530 5.7.0 Must issue a STARTTLS command first
        C: AUTH PLAIN {RIGHT}
        S: 530 5.7.0 ...
        C: RSET
        S: 530 5.7.0 ...
        C: VRFY anne
        S: 530 5.7.0 ...
        C: NOOP
        S: 250 ...
        C: STARTTLS
        S: 220 ...
        C: <tls>
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 530 5.7.0 Authentication required
        C: AUTH PLAIN {RIGHT}
        S: 235 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        C: STARTTLS
        S: 503 5.5.1 ...
        C: RSET
        S: 250 ...
        C: QUIT
        S: 221 ...
        S: <closed>
    """
    run(converse([Knows()], script, listen=REQUIRED))


def test_a_message_behind_a_demand_is_not_taken_for_commands() -> None:
    script = f"{HELLO}C: BDAT 6\nC: QUIT\nS: 530 5.7.0 ...\nC: NOOP\nS: 250 ..."
    run(converse([Knows()], script, listen=REQUIRED))


def test_the_decision_is_heard_of() -> None:
    @dataclass
    class Hears(Plugin):
        heard: list[str] = field(default_factory=list)

        def decided(self, session: Session, decision: Decision) -> Awaitable[None] | None:
            self.heard.append(str(decision))
            return None

    hears = Hears()
    talk([hears, Knows()], f"C: AUTH PLAIN {NOBODY}\nS: 535 ...\nC: AUTH PLAIN {RIGHT}\nS: 235 ...")
    assert hears.heard == ["auth: nobody denies", "auth: knows accepts"]
