from __future__ import annotations

from dataclasses import fields

import pytest

from gatepost.client import Stage, Timeouts


# RFC 5321, 4.5.3.2: the least that a client should wait, in minutes.
@pytest.mark.parametrize(
    ("stage", "minutes"),
    [
        (Stage.BANNER, 5),
        (Stage.MAIL, 5),
        (Stage.RCPT, 5),
        (Stage.DATA, 2),
        (Stage.END_OF_DATA, 10),
    ],
)
def test_the_standard_is_the_default(stage: Stage, minutes: int) -> None:
    assert Timeouts().of(stage) == minutes * 60
    assert Timeouts().block == 3 * 60


def test_every_step_has_a_time() -> None:
    timeouts = Timeouts(**{field.name: index + 1 for index, field in enumerate(fields(Timeouts))})
    assert all(timeouts.of(stage) >= 1 for stage in Stage)
    assert timeouts.of(Stage.QUIT) == timeouts.quit
