"""What the tests of the log share: it is afterwards as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from gatepost.log.relay import Relay


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    loggers = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    levels = [(logger, logger.level) for logger in loggers]
    yield
    for handler in root.handlers:
        if isinstance(handler, Relay):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for one in root.manager.loggerDict.values():
        if isinstance(one, logging.Logger):
            one.setLevel(logging.NOTSET)
    for logger, before in levels:
        logger.setLevel(before)
