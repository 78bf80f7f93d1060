"""What a filter box offers while a person types: fields, the values that the fleet has, and how to go on from a `>`.

Owns the offers and their order. Knows the language (`query`) and its fields, no widget and no key.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from envwatch.model.text import Clean
from envwatch.model.versions import is_version
from envwatch.query.field_types import NONE, STATUSES, InstantField, StatusField, TextField, VersionField
from envwatch.query.fields import ALIASES, FIELDS, META, STATUS, member, named_field
from envwatch.query.lexer import QueryError, Token, normalize, tokens, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.field_types import Field, ListField, ProfileField

MOST = 20
"""Values offered at once."""

_OF_TERMS = (
    ("mode:unrestricted,strict", "either mode"),
    ("!os:darwin", "not on a Mac"),
    ("beat:>90s", "no heartbeat for 90 s"),
    ("version:<0.34", "older than 0.34"),
    ("branch:feat/*", "branches that begin so"),
    ("name:web-?", "one more character"),
    ("branch:none", "no branch known"),
    ("first:>2026-11-01", "new since then"),
    ('name:"build box"', "a text with a space"),
)

HELP: tuple[tuple[str, str], ...] = (
    ("web", "web in any visible column"),
    ("offline", "down, or called so"),
    *_OF_TERMS,
)
"""Examples of the language and what they find in the table."""

LOG_HELP: tuple[tuple[str, str], ...] = (
    ("web", "web in what the log says"),
    ("!flapping", "events that do not say so"),
    *_OF_TERMS,
)
"""The same of the log of events, where terms ask for the environments as they are now."""

_COMPARISONS = (">", ">=", "<", "<=")
_OF_INSTANTS = (
    "longer ago or later than",
    "as long ago or later",
    "less long ago or earlier than",
    "at most, or until",
)
_OF_VERSIONS = ("newer than", "this or newer", "older than", "this or older")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Completion:
    """One way to go on: put `text` in the place of what stands from `start` to `end`."""

    start: int
    end: int
    text: Clean
    description: Clean


def completions(text: str, cursor: int, environments: Iterable[TrackedEnvironment]) -> list[Completion]:
    """Return what could stand where the cursor is, the likeliest first.

    Args:
        text: what is in the box.
        cursor: before which character it stands.
        environments: of the fleet, whose values are offered, the most frequent first.
    """
    token = _token_at(text, cursor)
    body = token.part(1) if token.shape.startswith("!") else token
    colon = body.shape.find(":")
    if colon < 0 or cursor <= body.places[colon]:
        name = body if colon < 0 else body.part(0, colon)
        end = _end(name, text, cursor) if colon < 0 else name.end + 1
        typed = _typed(name, cursor)
        words = chain(_names(typed, environments), _statuses(typed) if colon < 0 else ())
        return [Completion(name.start, end, Clean(offer), Clean(about)) for offer, about in words]
    try:
        field = named_field(body.part(0, colon))
    except QueryError:
        return []
    values = list(body.part(colon + 1).parts(","))
    value = next(part for part in values if cursor <= part.end)
    written_already = {text[part.start : part.end] for part in values}
    offers = _values(field, value, _typed(value, cursor), environments)
    end = _end(value, text, cursor)
    return [
        Completion(value.start, end, Clean(offer), Clean(about))
        for offer, about in offers
        if offer not in written_already
    ]


def _token_at(text: str, cursor: int) -> Token:
    """Return the token that the cursor is in or right behind; an empty one if there is none."""
    for token in tokens(text):
        if token.start < cursor <= token.end:
            return token
    return Token("", "", (cursor,), cursor)


def _end(token: Token, text: str, cursor: int) -> int:
    """Return how far an offer goes: a quote that is not closed yet holds the whole rest, but is meant for one word."""
    space = text.find(" ", cursor) if token.is_open else -1
    return token.end if space < 0 else min(token.end, space)


def _typed(token: Token, cursor: int) -> str:
    """Return what of a token stands before the cursor, quotes taken off."""
    return "".join(letter for letter, place in zip(token.text, token.places, strict=False) if place < cursor)


def _names(typed: str, environments: Iterable[TrackedEnvironment]) -> Iterator[tuple[str, str]]:
    """Yield the fields whose name or other name begins like this, each with its colon."""
    begun_by = typed.casefold()
    if begun_by.startswith(META):
        yield from _metadata_keys(typed[len(META) :], environments)
        return
    begun = {field for name, field in ALIASES.items() if begun_by and name.startswith(begun_by)}
    for name, field in FIELDS.items():
        if name.startswith(begun_by) or name in begun:
            yield f"{name}:", field.about
    if META.startswith(begun_by):
        yield META, "any key of the metadata"


def _statuses(typed: str) -> Iterator[tuple[str, str]]:
    """Yield the statuses that a word begins, each as a term of its own: one letter begins a field."""
    if len(typed) > 1:
        yield from ((f"{STATUS}:{name}", about) for name, about in _begun_statuses(typed))


def _begun_statuses(typed: str) -> Iterator[tuple[str, str]]:
    return ((name, about) for name, (about, _) in STATUSES.items() if name.startswith(typed.casefold()))


def _metadata_keys(typed: str, environments: Iterable[TrackedEnvironment]) -> Iterator[tuple[str, str]]:
    """Yield the keys on the level that is being typed; one that holds more keys ends with a dot."""
    path, dot, begun = typed.rpartition(".")
    roots = (tracked.environment.metadata for tracked in environments)
    levels = [level for root in roots if isinstance(level := member(root, path) if dot else root, dict)]
    counts = Counter(chain.from_iterable(levels))
    for key, count in _most_frequent((key, count) for key, count in counts.items() if key.startswith(begun)):
        value = next(level[key] for level in levels if key in level)
        yield written(f"{META}{path}{dot}{key}") + ("." if isinstance(value, dict) else ":"), _counted(count)


def _values(
    field: Field, token: Token, typed: str, environments: Iterable[TrackedEnvironment]
) -> Iterator[tuple[str, str]]:
    operator = next((sign for sign in (">=", "<=", ">", "<", "=") if token.shape.startswith(sign)), "")
    typed = typed[len(operator) :]
    if isinstance(field, StatusField):
        yield from _begun_statuses(typed)
        return
    if isinstance(field, InstantField):
        if typed.isascii() and typed.isdecimal():
            yield from ((f"{operator}{typed}{unit}", name) for unit, name in _UNITS.items())
        elif not token.text:
            yield from zip(_COMPARISONS, _OF_INSTANTS, strict=True)
            yield NONE, "never"
        return
    if isinstance(field, VersionField) and not token.text:
        yield from zip(_COMPARISONS, _OF_VERSIONS, strict=True)
    if isinstance(field, VersionField) or operator in ("", "="):
        yield from _seen(field, operator, typed, environments)


def _seen(
    field: TextField | ListField | VersionField | ProfileField,
    operator: str,
    typed: str,
    environments: Iterable[TrackedEnvironment],
) -> Iterator[tuple[str, str]]:
    """Yield the values in the fleet that what is typed would find, each as it must be written."""
    sought = normalize(typed)
    is_version_field = isinstance(field, VersionField)
    begins = is_version_field or (isinstance(field, TextField) and field.is_prefix)

    def is_begun(value: Clean | None) -> bool:
        if value is None:
            return not operator and NONE.startswith(sought)
        if operator and is_version_field and not is_version(value.lower()):
            return False
        return normalize(value).startswith(sought) if begins else sought in normalize(value)

    counts = Counter(chain.from_iterable(field.seen(tracked) for tracked in environments))
    for value, count in _most_frequent((value, count) for value, count in counts.items() if is_begun(value)):
        yield NONE if value is None else operator + written(value), _counted(count)


_Value = TypeVar("_Value", str, Clean | None)


def _most_frequent(counted: Iterable[tuple[_Value, int]]) -> list[tuple[_Value, int]]:
    return nsmallest(MOST, counted, key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))


def _counted(count: int) -> str:
    return f"{count} environment{'' if count == 1 else 's'}"
