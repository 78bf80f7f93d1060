"""Values of the package's classes with a marker in every text, made from the declared field types; exact comparison.

New fields get markers automatically. `exact` compares types and order too, which Python's equality ignores.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta, tzinfo
from enum import Enum
from functools import cache
from importlib import import_module
from inspect import getsource
from types import ModuleType, NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from pydantic import JsonValue

from envwatch.model.text import clean

MARK: Final = "≈"
"""Begins every marker, and appears in no text of the package."""

_PLAIN: Final = {bool: True, int: 1, float: 1.0, timedelta: timedelta(seconds=1), tzinfo: UTC}


def marked(hint: Any, path: str = "", outer: tuple[type, ...] = ()) -> Any:
    """Return a value of a type; each text is a marker that names class and field.

    Args:
        hint: the type, or a field's annotation.
        path: class and field of the value.
        outer: enclosing classes; a class nested in itself is left out, such as an event's members.
    """
    hint = getattr(hint, "__supertype__", hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is str:
        return clean(f"{MARK}{path}")
    if hint in {JsonValue, Any}:  # classes without pydantic declare JSON values as Any
        return {clean(f"{MARK}key in {path}"): [clean(f"{MARK}{path}")]}
    if get_origin(hint) is not None:
        return _composed(get_origin(hint), get_args(hint), path, outer)
    if issubclass(hint, Enum):
        return next(iter(hint))
    hints = type_hints(hint)
    return hint(**{name: marked(hints[name], f"{hint.__name__}.{name}", (*outer, hint)) for name in field_names(hint)})


def _composed(origin: Any, arguments: tuple[Any, ...], path: str, outer: tuple[type, ...]) -> Any:
    """Return a value of a generic type; no optional value is None."""
    if origin in {Union, UnionType}:
        return marked(next(each for each in arguments if each is not NoneType), path, outer)
    if origin is Callable:
        return bool
    if issubclass(origin, Mapping):
        return {marked(arguments[0], f"key in {path}", outer): marked(arguments[1], path, outer)}
    if origin is tuple and Ellipsis not in arguments:
        return tuple(marked(each, path, outer) for each in arguments)
    return origin([] if arguments[0] in outer else [marked(arguments[0], path, outer)])


def field_names(type_: type) -> tuple[str, ...]:
    """Return the field names of a dataclass or named tuple; empty for another class."""
    if dataclasses.is_dataclass(type_):
        return tuple(field.name for field in dataclasses.fields(type_))
    return getattr(type_, "_fields", ())


def fields_of_type(type_: type, wanted: Any) -> list[str]:
    return [name for name, hint in type_hints(type_).items() if hint in {wanted, wanted | None}]


@cache
def type_hints(type_: type) -> dict[str, Any]:
    """Return the field types, including types imported for the type checker alone."""
    return get_type_hints(type_, _names_in(sys.modules[type_.__module__]))


@cache
def _names_in(module: ModuleType) -> dict[str, Any]:
    blocks = [block for block in ast.parse(getsource(module)).body if isinstance(block, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {
        **{alias.name: _value_of(alias.name, node.module or "") for node in imports for alias in node.names},
        **vars(module),
    }


def _value_of(name: str, module_name: str) -> Any:
    """Return a name of a module; an alias written as text is evaluated there."""
    module = import_module(module_name)
    value = getattr(module, name)
    if not isinstance(value, str):
        return value
    return get_type_hints(type(name, (), {"__annotations__": {name: value}}), _names_in(module))[name]


def exact(value: Any) -> Any:
    """Return a form of a value that differs if a type (int or float) or an order differs."""
    if isinstance(value, str):
        return value + ""  # an enumeration's member becomes text
    if dataclasses.is_dataclass(value):
        compared = [field.name for field in dataclasses.fields(value) if field.compare]
        return (type(value).__name__, [(name, exact(getattr(value, name))) for name in compared])
    if isinstance(value, Mapping):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return ("set", sorted(map(repr, value)))
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, list(map(exact, value)))
    return (type(value).__name__, repr(value))
