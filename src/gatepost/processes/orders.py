"""Orders: what a worker is started with; it inherits the descriptors that they name."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path

#: The variable of the environment in which they stand.
VARIABLE = "GATEPOST_WORKER"
#: The variables by which a service manager talks to the supervisor, and to nobody else.
_NOT_FOR_WORKERS = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
    }
)


@dataclass(frozen=True, slots=True)
class Orders:
    """What one worker has to know."""

    path: str  #: of the configuration, for its relative paths and for complaints
    text: int  #: descriptor: the configuration as it was checked
    sockets: tuple[int, ...]  #: descriptors, in the order of the listeners
    channel: int  #: descriptor: to the supervisor
    tally: int  #: descriptor: memory that all workers share
    region: int  #: which part of that memory is this worker's
    seed: str  #: of `Site`, in hexadecimal digits
    quiet: bool  #: log warnings and errors only

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Orders:
        """The orders of this process, which no program that it starts is to see.

        Neither is such a program to inherit the descriptors.  Raises KeyError where there are none.
        """
        told = json.loads(environment.pop(VARIABLE))
        orders = cls(**told | {"sockets": tuple(told["sockets"])})
        for descriptor in orders.descriptors:
            os.set_inheritable(descriptor, False)
        return orders

    def in_environment(self) -> dict[str, str]:
        """The environment of a worker with these orders."""
        ours = {name: os.environ[name] for name in os.environ if name not in _NOT_FOR_WORKERS}
        return {**ours, VARIABLE: json.dumps(asdict(self))}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that the worker inherits."""
        return (self.text, *self.sockets, self.channel, self.tally)

    def configuration(self) -> tuple[str, Path]:
        """The text of the configuration, and where it stands or stood."""
        with open(self.text, "rb", closefd=False) as file:
            file.seek(0)
            return file.read().decode(), Path(self.path)


def text_in_memory(text: str) -> int:
    """A descriptor of memory that holds a text, to be inherited."""
    descriptor = os.memfd_create("gatepost-configuration", 0)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
