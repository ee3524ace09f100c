"""What is logged when a plugin breaks: all that helps, and no secret that it was shown."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable

import pytest

from gatepost import Credentials, Password, Plugin, Proven, Session, Token
from gatepost.hooks.chain import Chain
from gatepost.hooks.failures import log_failure
from gatepost.hooks.placement import Placement
from gatepost.log.record import text_of
from gatepost.testing import a_session, run

Told = Callable[..., str]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """What is logged of an exception, where a hook was called with these arguments."""

    def text(error: Exception, *arguments: object) -> str:
        caplog.clear()
        try:
            raise error
        except Exception as caught:
            log_failure("box", "auth", caught, arguments)
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        return text_of(record)

    return text


ANNE = Password("anne", "hunter 2ö")


def test_a_failure_is_told_with_its_words_and_its_place(told: Told) -> None:
    text = told(ConnectionError("no answer"), a_session(), ANNE)
    assert text.startswith("box failed on auth: ConnectionError: no answer (")
    assert f"{__file__}:" in text


@pytest.mark.parametrize(
    "spelling",
    [
        "hunter 2ö",
        repr("hunter 2ö"),
        repr("hunter 2ö".encode()),
        "https://anne:hunter%202%C3%B6@example.org/",
        "user=anne&password=hunter+2%C3%B6",
        b64encode("hunter 2ö".encode()).decode(),
        b64encode("anne:hunter 2ö".encode()).decode(),
        b64encode("\0anne\0hunter 2ö".encode()).decode(),
    ],
)
def test_however_a_password_is_spelled_it_is_not_told(spelling: str, told: Told) -> None:
    text = told(ValueError(f"is {spelling} it?"), a_session(), ANNE)
    assert text.startswith(
        "box failed on auth: Withheld: ValueError, whose words may hold a secret ("
    )
    assert spelling not in text
    assert f"{__file__}:" in text


def test_a_token_is_not_told_either(told: Told) -> None:
    text = told(ValueError("Bearer ey.J.x"), a_session(), Token("anne", "ey.J.x"))
    assert "ey.J.x" not in text


def test_nor_what_stands_behind_auth_before_it_is_parsed(told: Told) -> None:
    line = "PLAIN AGFubmUAaHVudGVyMg=="
    assert "AGFubmU" not in told(ValueError(line), a_session(), "AUTH", line)
    assert "bob@example.org" in told(ValueError("bob@example.org"), a_session(), "VRFY", "bob")


def test_nor_where_it_is_a_key_that_was_not_found(told: Told) -> None:
    awkward = Password("anne", "it's\\a\n")
    for error in (KeyError(awkward.password), KeyError(awkward.password.encode())):
        assert "Withheld: KeyError" in told(error, a_session(), awkward)


def test_what_an_exception_came_from_and_its_notes_are_looked_at_too(told: Told) -> None:
    cause = ValueError("hunter 2ö")
    error = RuntimeError("no")
    error.__cause__ = cause
    assert "hunter" not in told(error, a_session(), ANNE)
    noted = RuntimeError("no")
    noted.add_note("hunter 2ö")
    assert "hunter" not in told(noted, a_session(), ANNE)


def test_a_circle_of_causes_comes_to_an_end(told: Told) -> None:
    error = RuntimeError("round")
    error.__cause__ = error
    assert "RuntimeError: round" in told(error, a_session(), ANNE)


def test_who_has_shown_no_secret_has_nothing_withheld(told: Told) -> None:
    proven = Proven("anne", "SCRAM-SHA-256")
    assert "anne" in told(ValueError("anne"), a_session(), proven)
    assert "anything" in told(ValueError("anything"), a_session(), Token("anne", ""))


class Unspeakable(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("hush")


def test_what_cannot_become_text_is_withheld(told: Told) -> None:
    text = told(Unspeakable(), a_session(), ANNE)
    assert text.startswith("box failed on auth: Withheld: Unspeakable, ")


def test_a_plugin_that_breaks_on_a_password_keeps_it_for_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Box(Plugin):
        def auth(self, session: Session, credentials: Credentials) -> None:
            raise KeyError(credentials)

        def argument(self, session: Session, verb: str, text: str) -> str:
            raise ValueError(text)

    session = a_session()
    chain = Chain([(Box(), Placement("box", on_error="ignore"))])

    async def ask() -> None:
        await chain.ask("auth", session, session, ANNE)
        await chain.pass_on("argument", session, "AUTH", "PLAIN AGFubmUAaHVudGVyMg==")

    run(ask())
    texts = [text_of(record) for record in caplog.records]
    assert len(texts) == 2
    assert "KeyError: Password(user='anne', mechanism='PLAIN')" in texts[0]
    assert "Withheld: ValueError" in texts[1]
    assert "AGFubmU" not in texts[1]
