"""The image is made of files that are there, and is sent no others."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def copied(dockerfile: str) -> set[str]:
    """What is copied out of the checkout."""
    lines = [line.split() for line in dockerfile.splitlines() if line.startswith("COPY ")]
    return {name for _, *names, _ in lines if not names[0].startswith("--from=") for name in names}


def test_what_the_image_is_made_of_is_sent_and_nothing_else() -> None:
    sources = copied((ROOT / "packaging/Dockerfile").read_text())
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    assert {name for name in sources if not (ROOT / name).exists()} == set()
