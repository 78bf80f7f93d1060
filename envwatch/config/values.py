"""How a person writes a value: durations, whole numbers, choices, yes or no.

The command line, the variables and the configuration file read the same words within the same bounds. Knows no setting
by name. A reader returns a value, or raises `ValueError` with the end of a sentence: "must be …", never the value
itself, which may be a secret in the wrong place.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar
from unicodedata import category

from envwatch.model.text import Clean, clean
from envwatch.storage.redactor import LIKE_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_T = TypeVar("_T")

# Without names for the groups, for a JSON schema takes the same pattern and knows none.
_DURATION = re.compile(r"(?=.)(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8}(?:\.[0-9]{1,6})?)s?)?")


class ConfigError(ValueError):
    """Settings that cannot be used.

    Attributes:
        lines: one plain line for each mistake, with its place.
    """

    def __init__(self, *lines: str) -> None:
        self.lines: tuple[Clean, ...] = tuple(clean(told) for told in lines)
        super().__init__("\n".join(self.lines))


_NEVER_TYPED = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of controls, ends of lines, and what was no UTF-8."""

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


class Reader(Generic[_T]):
    """Reads a value, and tells a JSON schema of what can be written."""

    __slots__ = ("_read", "schema")

    def __init__(self, read: Callable[[object], _T], schema: Mapping[str, object]) -> None:
        self._read = read
        self.schema = schema

    def __call__(self, told: object) -> _T:
        """Return the value.

        Raises:
            ValueError: if that is none.
        """
        return self._read(told)


def reads(**schema: object) -> Callable[[Callable[[object], _T]], Reader[_T]]:
    """Make a function a reader, given the JSON schema of what it reads."""
    return lambda read: Reader(read, schema)


def duration(low: int, high: int) -> Reader[timedelta]:
    """Return what reads a duration: `45s`, `2m`, `1m30s`, `1h`, or a number of seconds.

    Args:
        low: the least number of seconds allowed.
        high: the greatest.
    """
    number = {"type": "number", "minimum": low, "maximum": high}

    @reads(anyOf=[number, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}])
    def read(told: object) -> timedelta:
        text = str(told).strip() if isinstance(told, (str, int, float)) and not isinstance(told, bool) else ""
        if match := _DURATION.fullmatch(text):
            hours, minutes, seconds = map(float, match.groups(default="0"))
            found = timedelta(hours=hours, minutes=minutes, seconds=seconds)
            if timedelta(seconds=low) <= found <= timedelta(seconds=high):
                return found
        raise ValueError(f"must be {_spelled(low)} to {_spelled(high)}, written like 45s, 2m or a number of seconds")

    return read


def whole(low: int, high: int) -> Reader[int]:
    """Return what reads a whole number within bounds, both included."""

    @reads(type="integer", minimum=low, maximum=high)
    def read(told: object) -> int:
        if isinstance(told, (str, int)) and not isinstance(told, bool):
            with suppress(ValueError):
                if low <= int(told) <= high:
                    return int(told)
        raise ValueError(f"must be a whole number from {low} to {high}")

    return read


def one_of(choices: Collection[str]) -> Reader[str]:
    """Return what reads one of some words."""

    @reads(type="string", enum=list(choices))
    def read(told: object) -> str:
        if isinstance(told, str) and told.strip() in choices:
            return told.strip()
        raise ValueError(f"must be one of {', '.join(choices)}")

    return read


def some_of(choices: Collection[str]) -> Reader[tuple[str, ...]]:
    """Return what reads a list of different words out of some, or the same with commas between them."""
    word = {"type": "string", "enum": list(choices)}

    @reads(type="array", items=word, uniqueItems=True, minItems=1)
    def read(told: object) -> tuple[str, ...]:
        parts = told.split(",") if isinstance(told, str) else told
        if isinstance(parts, (list, tuple)) and all(isinstance(part, str) for part in parts):
            words = tuple(part.strip() for part in parts)
            if words and set(words) <= set(choices) and len(set(words)) == len(words):
                return words
        raise ValueError(f"must be a list of {', '.join(choices)}, each at most once")

    return read


@reads(type="boolean")
def yes_or_no(told: object) -> bool:
    """Read a yes or a no: true, false, and what variables have for them."""
    if isinstance(told, bool):
        return told
    word = told.strip().casefold() if isinstance(told, str) else ""
    if word in _YES | _NO:
        return word in _YES
    raise ValueError("must be true or false")


@reads(type="string", minLength=1)
def line(told: object) -> str:
    """Read a text of one line, not empty."""
    if isinstance(told, str) and told.strip() and told.isprintable():
        return told.strip()
    raise ValueError("must be a text of one line")


@reads(type="string", minLength=1)
def path_text(told: object) -> str:
    """Read a path as it is: what begins or ends with a blank is one too. What looks like a key is refused."""
    if not isinstance(told, str) or not told:
        raise ValueError("must be a path, not an empty text")
    if LIKE_A_KEY.fullmatch(told):
        raise ValueError("must be a path, and this looks like an API key (a file of such a name is written ./NAME)")
    return told


@reads(type="string")
def query(told: object) -> str:
    """Read a filter, empty for everything. Whatever can be typed into the filter box may be meant."""
    if isinstance(told, str) and not any(category(character) in _NEVER_TYPED for character in told):
        return told.strip()
    raise ValueError("must be a text of one line")


def _spelled(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
