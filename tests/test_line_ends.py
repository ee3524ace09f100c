"""CRLF becomes LF, however the octets are cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatepost import with_lf


@given(st.lists(st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\r", b"\n"])))
def test_any_split_gives_the_same_lines(pieces: list[bytes]) -> None:
    assert b"".join(with_lf(pieces)) == b"".join(pieces).replace(b"\r\n", b"\n")
