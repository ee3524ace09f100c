"""The tables of the configuration, each read into its value or into complaints."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gatepost.config.complaints import Complaints
from gatepost.config.settings import Dns, Listen
from gatepost.config.socket_address import UNIX, SocketAddress
from gatepost.hooks.loader import Complaint, Loaded, is_name, load
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import Misfit, fill, resolved_path
from gatepost.hooks.loader_words import did_you_mean
from gatepost.limits import Limits


def read_limits(table: Mapping[str, object], complaints: Complaints) -> Limits:
    """The table [limits]."""
    values, wrong = fill(table, declared_options(Limits), Path())
    for key, value in values.items():
        try:
            Limits(**{key: value})  # alone, so that each is complained of
        except ValueError as error:
            wrong.append(Complaint(str(error), key))
    complaints.take(wrong, "limits", section="limits")
    return Limits() if wrong else Limits(**values)


def read_dns(table: Mapping[str, object], complaints: Complaints) -> Dns:
    """The table [dns]."""
    values, wrong = fill(table, declared_options(Dns), Path())
    try:
        dns = Dns(**values)
    except ValueError as error:
        wrong.append(Complaint(str(error), "servers"))
        dns = Dns()
    complaints.take(wrong, "dns", section="dns")
    return dns


# -- [[listen]] -----------------------------------------------------------------------------------


def read_listeners(
    tables: Sequence[Mapping[str, object]],
    directory: Path,
    complaints: Complaints,
    *,
    has_certificates: bool,
) -> tuple[Listen, ...]:
    """The tables [[listen]]; relative paths of Unix sockets start at `directory`."""
    if not tables:
        complaints.add('no [[listen]] table: write one with address = "127.0.0.1:2525"', "listen")
    listeners: list[Listen] = []
    for number, table in enumerate(tables):
        listener, wrong = _read_listener(table, directory, alone=len(tables) == 1)
        complaints.take(wrong, "listen", number, section="listen")
        if listener is None:
            continue
        if listener.tls != "off" and not has_certificates:
            text = (
                f"option 'tls': \"{listener.tls}\" needs a table [tls] with a certificate; "
                "`gatepost init --tls` makes one to try with"
            )
            complaints.add(f"listen: {text}", "listen", number, "tls")
        for other in listeners:
            if other.name == listener.name:
                text = f"listen: two listeners are called {other.name!r}: give one another name"
                complaints.add(text, "listen", number, "name")
            if other.address == listener.address and not listener.socket_address.is_any_port:
                text = f"listen: two listeners have the address {other.address}"
                complaints.add(text, "listen", number, "address")
        listeners.append(listener)
    return tuple(listeners)


def _read_listener(
    table: Mapping[str, object], directory: Path, *, alone: bool
) -> tuple[Listen | None, list[Complaint]]:
    values, wrong = fill(table, declared_options(Listen), directory)
    if not is_name(values.get("name", "unnamed")):
        wrong.append(Complaint("option 'name' must be of printable characters", "name"))
    if "address" in values:
        values.setdefault("name", values.get("protocol", "smtp") if alone else values["address"])
        try:
            values["address"] = _checked_address(values["address"], directory)
        except Misfit as misfit:
            wrong.append(Complaint(f"option 'address'{misfit.faults[0]}", "address"))
    if wrong:
        return None, wrong
    try:
        return Listen(**values), wrong
    except ValueError as error:
        return None, [Complaint(str(error), str(error).split("'")[1])]  # "option 'address' ..."


def _checked_address(text: str, directory: Path) -> str:
    if text.startswith(UNIX):
        text = f"{UNIX}{resolved_path(text.removeprefix(UNIX), directory)}"
    try:
        return str(SocketAddress.parse(text))
    except ValueError as error:
        raise Misfit(f" {error}") from error


# -- [[plugin]] -----------------------------------------------------------------------------------


def read_plugins(
    tables: Sequence[Mapping[str, object]],
    complaints: Complaints,
    *,
    directory: Path,
    directories: Sequence[Path],
    listeners: Collection[str],
) -> tuple[Loaded, ...]:
    """The tables [[plugin]], in their order.

    `listeners` are the names of those that there are; empty when they are not known.
    """
    plugins: list[Loaded] = []
    names: set[object] = set()
    for number, table in enumerate(tables):
        name = table.get("name", table.get("use", ""))
        if isinstance(name, str) and name in names:
            text = f'two plugins are called that: give one another name, as in name = "{name}-2"'
            complaints.add(f"{name}: {text}", "plugin", number, "name")
        names.add(str(name))
        outcome = load(table, directory=directory, directories=directories)
        if isinstance(outcome, list):
            complaints.take(outcome, "plugin", number)
            continue
        for listener in outcome.placement.listeners:
            if listeners and listener not in listeners:
                hint = did_you_mean(listener, listeners)
                complaints.add(
                    f"{name}: there is no listener {listener!r}{hint}",
                    "plugin",
                    number,
                    "listeners",
                )
        plugins.append(outcome)
    return tuple(plugins)
