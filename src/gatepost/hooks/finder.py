"""How a plugin is found by the name that a configuration gives it."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from importlib import import_module, metadata
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import TypeVar

from gatepost.hooks.loader_words import did_you_mean
from gatepost.plugin import Plugin

#: The package of the bundled plugins, and the group in which installed packages announce theirs.
PLUGINS = "gatepost.plugins"

_OUTSIDE_PLUGINS = ("<", os.path.dirname(importlib.__file__), os.path.dirname(__file__))
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z_][A-Za-z0-9_]*)?")
#: Packages that are imported by another name than they are installed by.
_DISTRIBUTIONS = {"argon2": "argon2_cffi", "jwt": "pyjwt", "pam": "python_pam"}
_EXTRA = re.compile(r"""(?P<name>[A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"](?P<extra>[^'"]+)""")
T = TypeVar("T")


class LoadError(Exception):
    """A plugin that cannot be had; the text says which, and why."""


def find_plugin(use: str, directories: Sequence[Path]) -> type[Plugin]:
    """The plugin that `use` names: the first that exists of these.

    `package.module:Class`; a bundled plugin; a file `<use>.py` in one of the directories; an entry
    point of an installed package.  Of a file that defines several plugins `file:Class` names one.
    A file that a bundled plugin of the same name would hide is an error.

    Raises LoadError when there is none, or when its module cannot be imported.
    """
    if not _NAME.fullmatch(use) or ".." in use:
        raise LoadError(
            f"{use!r} is no plugin's name: write a bundled one, a file's or package.module:Class"
        )
    module, _, kind = use.partition(":")
    if kind:
        found = _own_module(module, use, directories) or _import(module, use)
        return _plugin_of(getattr(found, kind, None), use)
    if own := _own_module(module, use, directories):
        return _only_plugin(own, use)
    for point in metadata.entry_points(group=PLUGINS, name=use):
        loaded = _guarded(point.load, use)
        if isinstance(loaded, ModuleType):
            return _only_plugin(loaded, use)
        return _plugin_of(loaded, use)
    hint = did_you_mean(use, available_plugins(directories))
    raise LoadError(f"no plugin {use!r}{hint or '; `gatepost plugins` lists those that there are'}")


def available_plugins(directories: Sequence[Path]) -> dict[str, str]:
    """The names of all plugins that can be found, and where each comes from, in words."""
    points = metadata.entry_points(group=PLUGINS)
    return (
        {point.name: f"installed ({point.value})" for point in points}
        | {name: str(path) for name, path in _files(directories).items()}
        | dict.fromkeys(bundled_plugins(), "bundled")
    )


def bundled_plugins() -> dict[str, str]:
    """The names of the plugins that come with Gatepost, each with its module; none is imported."""
    return dict(_modules(find_spec(PLUGINS), f"{PLUGINS}."))


def _own_module(name: str, use: str, directories: Sequence[Path]) -> ModuleType | None:
    """The module of a bundled plugin or of a file in the directories; None: there is none."""
    bundled, files = bundled_plugins(), _files(directories)
    if name in bundled and name in files:
        raise LoadError(
            f"{name} is a bundled plugin and the file {files[name]}: give the file another name"
        )
    if name in bundled:
        return _import(bundled[name], use)
    return _import_file(files[name]) if name in files else None


def _modules(package: ModuleSpec | None, prefix: str) -> Iterator[tuple[str, str]]:
    locations = package.submodule_search_locations if package else None
    for finder, name, is_package in pkgutil.iter_modules(locations or ()):
        if name.startswith("_"):
            continue
        if is_package:
            yield from _modules(finder.find_spec(name, None), f"{prefix}{name}.")
        else:
            yield name, prefix + name


def _files(directories: Sequence[Path]) -> dict[str, Path]:
    """The plugins that stand in directories; where two have one name, the first directory's."""
    return {
        path.stem: path
        for directory in reversed(directories)
        for path in sorted(directory.glob("*.py"))
        if not path.name.startswith("_") and _NAME.fullmatch(path.stem)
    }


# -- Importing ------------------------------------------------------------------------------------


class _SourceLoader(SourceFileLoader):
    """Compiles the source each time, so that nothing is written beside an operator's files."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _import(module: str, use: str) -> ModuleType:
    return _guarded(lambda: import_module(module), use)


def _import_file(path: Path) -> ModuleType:
    """The module of one file, imported once for each state of the file."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from error
    state = f"{path.absolute()} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    name = f"gatepost.files.{path.stem}_{sha256(state.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _SourceLoader(name, str(path))
    spec = ModuleSpec(name, loader, origin=str(path))
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their types up there
    try:
        _guarded(lambda: loader.exec_module(module), path.stem)
    except LoadError:
        del sys.modules[name]
        raise
    return module


def _guarded(load: Callable[[], T], use: str) -> T:
    try:
        return load()
    except (Exception, SystemExit) as error:  # a plugin's module may raise whatever it likes
        raise LoadError(explained(error, use)) from error


# -- Complaints -----------------------------------------------------------------------------------


def explained(error: BaseException, use: str) -> str:
    """An exception of a plugin's code in words: what it is, and the file and line it comes from."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module, colon, _ = use.partition(":")
        if colon and f"{module}.".startswith(f"{error.name}."):
            return f"{use}: there is no module {error.name}"
        package = error.name.partition(".")[0]
        if extra := _extra(package):
            return f"{use} needs {package}: pip install 'gatepost[{extra}]'"
        return f"{use} needs the module {error.name}, which is not installed"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{use}: {error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    words = f"{type(error).__name__}: {error}"
    if frames[-1].name == Plugin.__init_subclass__.__name__:
        words = str(error)  # a misspelt hook: the words are meant for the operator
    return f"{use}: {words}{_place(frames)}"


def _place(frames: traceback.StackSummary) -> str:
    """The line of the plugin's own file, the first on the way that neither imports nor loads."""
    foreign = [frame for frame in frames if not frame.filename.startswith(_OUTSIDE_PLUGINS)]
    own = [frame for frame in foreign if frame.filename == foreign[0].filename]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def _extra(package: str) -> str | None:
    """The smallest extra of Gatepost that installs a package; None: there is none."""
    package = _DISTRIBUTIONS.get(package, package)
    try:
        requirements = metadata.requires("gatepost") or ()
    except metadata.PackageNotFoundError:
        return None
    extras: dict[str, list[str]] = {}
    for match in filter(None, map(_EXTRA.match, requirements)):
        name = re.sub(r"[-_.]+", "_", match["name"]).lower()
        extras.setdefault(match["extra"], []).append(name)
    fitting = [extra for extra, names in extras.items() if package.lower() in names]
    return min(fitting, key=lambda extra: len(extras[extra]), default=None)


def _only_plugin(module: ModuleType, use: str) -> type[Plugin]:
    kinds = {
        kind.__name__: kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Plugin)
        and kind.__module__ == module.__name__
        and not kind.__name__.startswith("_")
    }
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    if not kinds:
        raise LoadError(f"{use}: {module.__file__} defines no class that derives from Plugin")
    names = sorted(kinds)
    raise LoadError(
        f"{use}: {module.__file__} defines several plugins: write use = "
        + " or ".join(f'"{use}:{name}"' for name in names)
    )


def _plugin_of(value: object, use: str) -> type[Plugin]:
    if isinstance(value, type) and issubclass(value, Plugin):
        return value
    what = "is not there" if value is None else "is no class that derives from Plugin"
    raise LoadError(f"{use}: {use.partition(':')[2] or use} {what}")
