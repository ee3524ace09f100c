"""Source: the names of a module as their own lines and comments document them."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Documented:
    """One name: how it is written when it is used, and what is said of it."""

    name: str
    code: str  #: `parse(text: str, *, utf8: bool = False) -> Self`
    text: str  #: the docstring, or the `#:` comment; empty: there is neither
    members: tuple[Documented, ...] = ()  #: of a class, those without a `_`


def documented(module: str) -> dict[str, Documented]:
    """The names that a module itself defines and does not keep to itself."""
    text = inspect.getsource(import_module(module))
    return {one.name: one for one in _defined(ast.parse(text).body, _comments(text))}


def origins(package: str) -> dict[str, str]:
    """The public names of a package, each with the module that defines it."""
    return {name: _origin(package, name) for name in import_module(package).__all__}


def label(text: str) -> str:
    """The first sentence or paragraph of a docstring, on one line."""
    return " ".join(text.partition("\n\n")[0].split())


def _defined(body: list[ast.stmt], comments: Mapping[int, str]) -> Iterator[Documented]:
    for node in body:
        one: Documented | None = None
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                one = Documented(node.name, _function(node), ast.get_docstring(node) or "")
            case ast.ClassDef():
                members = (*_attributes(node, comments), *_defined(node.body, comments))
                one = Documented(node.name, _class(node), ast.get_docstring(node) or "", members)
            case ast.AnnAssign(target=ast.Name(id=name)):
                one = Documented(name, _annotated(node), _comment(node, comments))
            case ast.Assign(targets=[ast.Name(id=name)]):
                one = Documented(name, name, _comment(node, comments))
        if one is not None and not one.name.startswith("_"):
            yield one


def _attributes(kind: ast.ClassDef, comments: Mapping[int, str]) -> Iterator[Documented]:
    """What the methods of a class put on `self`, each by its first assignment."""
    seen = {ast.unparse(one.target) for one in kind.body if isinstance(one, ast.AnnAssign)}
    for node in ast.walk(kind):
        match node:
            case (
                ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)])
                | ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name))
            ) if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield Documented(name, name, _comment(node, comments))


def _origin(module: str, name: str) -> str:
    if name in documented(module):
        return module
    for node in ast.parse(inspect.getsource(import_module(module))).body:
        if isinstance(node, ast.ImportFrom) and name in {
            one.asname or one.name for one in node.names
        }:
            return _origin(node.module or "", name)
    raise LookupError(f"{module} has no {name}")


# -- How it is written ----------------------------------------------------------------------------


def _function(node: _Function) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    returned = ast.unparse(node.returns) if node.returns else "None"
    if decorators & {"property", "cached_property"}:
        return f"{node.name}: {returned}"
    awaited = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{awaited}{node.name}({', '.join(_parameters(node.args))}) -> {returned}"


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    """The parameters of a function, without `self` and `cls`."""
    places = arguments.posonlyargs + arguments.args
    defaults = [*[None] * (len(places) - len(arguments.defaults)), *arguments.defaults]
    for place, (one, default) in enumerate(zip(places, defaults, strict=True), 1):
        if one.arg not in ("self", "cls"):
            yield _parameter(one, default)
        if place == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg or arguments.kwonlyargs:
        yield f"*{_parameter(arguments.vararg, None) if arguments.vararg else ''}"
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(one, default)
    if arguments.kwarg:
        yield f"**{_parameter(arguments.kwarg, None)}"


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {_quoted(one.annotation)}" if one.annotation else ""
    return f"{one.arg}{kind}{_default(default)}"


def _class(node: ast.ClassDef) -> str:
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return f"{node.name}({', '.join(_parameters(one.args))})"
    fields = [
        _annotated(one)
        for one in node.body
        if isinstance(one, ast.AnnAssign) and _is_parameter(one)
    ]
    return f"{node.name}({', '.join(fields)})" if fields else node.name


def _is_parameter(field: ast.AnnAssign) -> bool:
    """Whether the constructor of a dataclass takes a field."""
    made = field.value.keywords if isinstance(field.value, ast.Call) else []
    fixed = any(keyword.arg == "init" for keyword in made)  # nobody writes `init=True`
    return not fixed and not ast.unparse(field.target).startswith("_")


def _annotated(node: ast.AnnAssign) -> str:
    name, kind = ast.unparse(node.target), _quoted(node.annotation)
    if kind == "TypeAlias" and node.value:
        return f"{name} = {_quoted(node.value)}"
    return f"{name}: {kind}{_default(node.value)}"


def _default(value: ast.expr | None) -> str:
    match value:
        case None:
            return ""
        case ast.Call(func=ast.Name(id="field"), keywords=[ast.keyword("default_factory", made)]):
            return f" = {_quoted(made)}()"
        case ast.Call(func=ast.Name(id="field"), keywords=[ast.keyword("default", value), *_]):
            return f" = {_quoted(value)}"
        case ast.Call(func=ast.Name(id="field")):
            return ""
    return f" = {_quoted(value)}"


def _quoted(node: ast.expr) -> str:
    """An expression with double quotes, as the formatter has them."""
    text = ast.unparse(node)
    return text if '"' in text else text.replace("'", '"')


# -- What is said of it ---------------------------------------------------------------------------


def _comments(text: str) -> dict[int, str]:
    """The `#:` comments by line; one that stands on a line of its own begins with a line break."""
    return {
        token.start[0]: ("\n" if token.line.lstrip().startswith("#") else "")
        + token.string.removeprefix("#:").strip()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and token.string.startswith("#:")
    }


def _comment(node: ast.stmt, comments: Mapping[int, str]) -> str:
    """The comment behind a name, or the one that stands above it."""
    words: list[str] = []
    line = node.lineno - 1
    while comments.get(line, "").startswith("\n"):
        words.insert(0, comments[line].strip())
        line -= 1
    last = node.end_lineno or node.lineno
    words += [comments[line] for line in range(node.lineno, last + 1) if line in comments]
    return " ".join(words)
