"""Whether two values are one value, also in type and order: 1, 1.0 and true are equal in Python, 0.0 and -0.0 too.

Pure.
"""

from __future__ import annotations

from typing import Any, Final

_EQUAL_IS_SAME: Final = frozenset({str, int, bool, frozenset})


def is_same(one: Any, other: Any) -> bool:  # noqa: ANN401  any values
    """Return whether two values are equal, and so is the type of each value in them and the order of each object."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other) or one != other:
        return False
    if kind in _EQUAL_IS_SAME or (kind is float and one != 0):
        return True
    if isinstance(one, (tuple, list)):
        return all(map(is_same, one, other))
    if kind is dict:
        return [*one] == [*other] and all(map(is_same, one.values(), other.values()))
    return repr(one) == repr(other)
