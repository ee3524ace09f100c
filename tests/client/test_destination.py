from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.client import Destination


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("mail.example", Destination("mail.example", 25)),
        ("mail.example:2525", Destination("mail.example", 2525)),
        ("192.0.2.1:25", Destination("192.0.2.1", 25)),
        ("[2001:db8::1]", Destination("2001:db8::1", 25)),
        ("[2001:db8::1]:2525", Destination("2001:db8::1", 2525)),
        ("smtp:mail.example", Destination("mail.example", 25)),
        ("smtp://mail.example:587", Destination("mail.example", 587)),
        ("smtp:25", Destination("smtp", 25)),  # a host of that name
        ("lmtp:smtp:24", Destination("smtp", 24, lmtp=True)),
        ("lmtp:mail.example", Destination("mail.example", 24, lmtp=True)),
        ("LMTP://mail.example:2424", Destination("mail.example", 2424, lmtp=True)),
        ("lmtp:[::1]:24", Destination("::1", 24, lmtp=True)),
        ("lmtp:unix:/run/lmtp.sock", Destination("/run/lmtp.sock", 0, lmtp=True)),
        ("unix:/run/a b:c.sock", Destination("/run/a b:c.sock", 0)),
    ],
)
def test_a_destination_is_read(text: str, destination: Destination) -> None:
    assert Destination.parse(text) == destination
    assert Destination.parse(str(destination)) == destination


@pytest.mark.parametrize(
    "text",
    [
        "",
        "25",
        "lmtp:unix:24:24",
        "mail.example:",
        "mail.example:0",
        "mail.example:65536",
        "mail.example:25x",
        "2001:db8::1",
        "[2001:db8::1",
        "mail example",
        "lmtp:",
        "unix:",
        "unix:relative",
        "http://mail.example",
        "mail.example/25",
        "mail.example\n",
    ],
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a host and a port|is no destination"):
        Destination.parse(text)


@given(
    st.one_of(
        st.builds(
            Destination,
            st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
            st.integers(1, 65_535),
            st.booleans(),
        ),
        st.builds(
            Destination,
            st.ip_addresses().map(str),
            st.integers(1, 65_535),
            st.booleans(),
        ),
        st.builds(
            Destination,
            st.from_regex(r"/[ -~]{1,20}", fullmatch=True),
            st.just(0),
            st.booleans(),
        ),
    )
)
def test_what_is_written_is_read_back(destination: Destination) -> None:
    assert Destination.parse(str(destination)) == destination
