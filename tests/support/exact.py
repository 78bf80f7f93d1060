"""Compares values including types and order, which Python's equality ignores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def exact(value: Any) -> Any:
    """Return a form of a value that differs if a type (int or float) or an order differs."""
    if isinstance(value, str):
        return value + ""  # an enumeration's member becomes text
    if is_dataclass(value):
        compared = [field.name for field in fields(value) if field.compare]
        return (type(value).__name__, [(name, exact(getattr(value, name))) for name in compared])
    if isinstance(value, Mapping):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return ("set", sorted(map(repr, value)))
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, list(map(exact, value)))
    return (type(value).__name__, repr(value))
