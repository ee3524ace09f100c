"""The pages of the manual that are made from the code, so that they cannot drift from it.

`python -m gatepost.reference` writes them into `docs/`, and a test fails with the difference when
one of them is stale.
"""

from __future__ import annotations

from collections.abc import Callable

from gatepost.reference.command_line import command_line_page
from gatepost.reference.extensions import extensions_page
from gatepost.reference.hooks import hooks_page
from gatepost.reference.plugins import plugins_page
from gatepost.reference.public_api import public_api_page
from gatepost.reference.replies import replies_page
from gatepost.reference.settings import settings_page
from gatepost.reference.states import states_page

#: Every generated page by the name of its file.
PAGES: dict[str, Callable[[], str]] = {
    "hooks.md": hooks_page,
    "replies.md": replies_page,
    "states.md": states_page,
    "extensions.md": extensions_page,
    "plugins.md": plugins_page,
    "settings.md": settings_page,
    "command-line.md": command_line_page,
    "public-api.md": public_api_page,
}
