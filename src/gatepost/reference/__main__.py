"""Write the generated pages of the manual: `python -m gatepost.reference [DIRECTORY]`."""

from __future__ import annotations

import sys
from pathlib import Path

from gatepost.reference import PAGES


def write_pages(directory: Path) -> list[Path]:
    """Write all generated pages; return those that have changed."""
    changed: list[Path] = []
    for name, make in PAGES.items():
        path, text = directory / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for path in write_pages(Path(*sys.argv[1:2] or ["docs"])):
        print(f"{path} has changed")
