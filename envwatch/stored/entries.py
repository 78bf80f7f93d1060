"""Entries of a state file, one a line, so that damage costs no other entry.

Each line is a JSON object, and the objects are joined; a later line wins. A *part* is an object of entries, each in a
line of its own. The last line is an empty object: without that line, the file was cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from envwatch.stored.codecs import Codec

T = TypeVar("T")

UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What a codec raises for a value of another type or form."""

_END: Final = "{}\n"


class ReadText(NamedTuple):
    """What a file's text has."""

    content: dict[str, Any]
    damaged: tuple[str, ...]
    """The damaged lines."""


def text_of_content(content: Mapping[str, Any], parts: Container[str] = ()) -> str:
    """Return a file's text."""
    lines: list[dict[str, Any]] = []
    for name, value in content.items():
        if name in parts:
            lines.append({name: {}})
            lines += ({name: {entry: each}} for entry, each in value.items())
        else:
            lines.append({name: value})
    return "".join(f"{json.dumps(line)}\n" for line in lines) + _END


def content_of_text(text: str, parts: Container[str] = ()) -> ReadText:
    """Return the content of a file's readable lines, and the names of the damaged lines."""
    content: dict[str, Any] = {}
    damaged: list[str] = []
    last: object = None
    for number, last in _lines(text):
        if not isinstance(last, dict):
            damaged.append(f"line {number}")
            continue
        for name, value in last.items():
            if name not in parts:
                content[name] = value
            elif isinstance(value, dict):
                content.setdefault(name, {}).update(value)
            else:
                damaged.append(f"line {number}")
    if last != {}:
        damaged.append("the end")
    return ReadText(content, tuple(damaged))


_DECODE: Final = json.JSONDecoder().raw_decode


def _lines(text: str) -> Iterator[tuple[int, object]]:
    """Yield the values of each line with the line's number, and None for what cannot be read."""
    for number, line in enumerate(text.split("\n"), 1):
        at = 0
        while at < len(line):
            try:
                value, at = _DECODE(line, at)
            except (ValueError, RecursionError):
                yield number, None
                break
            yield number, value
            if at < len(line):  # the end of the line is damaged, but perhaps not the next object
                yield number, None
                at = max(line.find("{", at), at)


def entries_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a content's members without values that are no objects, perhaps of a newer envwatch."""
    return {name: value for name, value in content.items() if isinstance(value, dict)}


def readable(entries: object, codec: Codec[T], unread: list[SafeText], *place: str) -> dict[str, T]:
    """Return the readable values by name, and add the places of all others to `unread`.

    `place` names where the entries stand: `open inc-1`.
    """
    found: dict[str, T] = {}
    if not isinstance(entries, Mapping):
        unread.append(clean(" ".join(place)))
        return found
    for name, plain in entries.items():
        try:
            found[name] = codec.value(plain)
        except UNREADABLE:
            unread.append(clean(" ".join((*place, name))))
    return found
