"""Verdicts are values, and none of them can contradict itself."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost import Accept, Defer, Deny, Each
from gatepost.testing import a_recipient


def test_verdicts_are_values() -> None:
    assert Deny("No") == Deny("No")
    assert Deny("No") != Deny("No", status="5.1.1")
    assert Accept() != Accept("Yes")
    assert len({Deny(), Deny(), Defer(), Accept()}) == 3
    assert repr(Deny("No", status="5.1.1")) == (
        "Deny(text='No', code=None, status='5.1.1', disconnect=False)"
    )


@pytest.mark.parametrize("verdict", [Accept(), Deny(), Defer()])
def test_verdicts_do_not_change(verdict: Any) -> None:
    with pytest.raises(AttributeError):
        verdict.text = "other"
    # TypeError on 3.11, where a frozen class with slots stumbles over its own complaint.
    with pytest.raises((AttributeError, TypeError)):
        verdict.other = "other"


@pytest.mark.parametrize(("kind", "digit"), [(Deny, 5), (Defer, 4)])
def test_codes_and_statuses_are_of_the_verdicts_class(kind: Any, digit: int) -> None:
    for code in range(digit * 100, digit * 100 + 100):
        assert kind(code=code).code == code
    for code in (0, 5, 99, 220, 250, 354, digit * 100 - 1, digit * 100 + 100, 1550):
        with pytest.raises(ValueError, match="code"):
            kind(code=code)
    for status in (f"{digit}.0.0", f"{digit}.7.1", f"{digit}.999.999"):
        assert kind(status=status).status == status
    for status in ("2.0.0", f"{9 - digit}.7.1", "no", f"{digit}", f"{digit}.", f"{digit}.7"):
        with pytest.raises(ValueError, match="status"):
            kind(status=status)
    for tail in (".a.1", ".7.1 ", ".7.1000", ".7.1\n", ".7.1.1", ".7.\u0661"):
        with pytest.raises(ValueError, match="status"):
            kind(status=f"{digit}{tail}")


@pytest.mark.parametrize("kind", [Accept, Deny, Defer])
@pytest.mark.parametrize("text", [None, 550, b"No", Deny("No")])
def test_texts_are_texts(kind: Any, text: Any) -> None:
    with pytest.raises(TypeError):
        kind(text)


def test_an_answer_for_each_is_a_value() -> None:
    bob = a_recipient()
    assert Each({bob: Accept()}) == Each({bob: Accept()})
    assert Each({bob: Accept()}) != Each({bob: Deny()})
