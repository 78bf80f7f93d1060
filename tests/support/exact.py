"""Every value that another one holds, with its type, in its order: what equality in Python does not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def exact(value: Any) -> Any:
    """A form of a value that is equal to another one's only if no type differs either, int or float, nor any order."""
    if isinstance(value, str):
        return value + ""  # a member of an enumeration is its word
    if is_dataclass(value):
        return (type(value).__name__, [(field.name, exact(getattr(value, field.name))) for field in fields(value)])
    if isinstance(value, Mapping):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return ("set", sorted(map(repr, value)))
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, list(map(exact, value)))
    return (type(value).__name__, repr(value))
