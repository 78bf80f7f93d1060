"""Differences of lists and objects, and the table of repeated values.

Lists and objects in `metadata` and unknown fields mostly repeat: a table holds each value once, a row its number in a
list.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from envwatch.model.text import cleaned
from envwatch.stored.codecs import COUNT, NESTED, is_same, list_of, nested_value, object_of, text_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from envwatch.stored.codecs import Members

T = TypeVar("T")


class MembersWriter:
    """Writes the objects of a frame's rows."""

    def __init__(self) -> None:
        self.table: list[Any] = []
        """The caller must write the table too."""
        self._places: dict[int, int] = {}

    def plain(self, members: Members) -> dict[str, Any]:
        """Return an object as a plain value."""
        return {name: [self._place(value)] if type(value) in NESTED else value for name, value in members.items()}

    def plain_change(self, before: Members | None, after: Members | None) -> Any:  # noqa: ANN401  a plain value
        """Return the `difference_of` two objects, or the whole object to keep the members' order."""
        if before is None or after is None:
            return None if after is None else self.plain(after)
        changed, gone = difference_of(before, after)
        if [*patched(before, changed, gone)] != [*after]:
            return self.plain(after)
        return [self.plain(changed), gone]

    def _place(self, value: Any) -> int:  # noqa: ANN401  any JSON value
        # Rows share equal values (`model.page.Pool`).
        place = self._places.setdefault(id(value), len(self.table))
        if place == len(self.table):
            self.table.append(value)
        return place


class MembersReader:
    """Reads the objects of a frame's rows; equal texts become the same object."""

    def __init__(self, table: Sequence[Any]) -> None:
        self._table = [nested_value(value) for value in table]
        self._text = lru_cache(maxsize=None)(text_of)

    def value(self, plain: object) -> Members:
        """Return an object from `MembersWriter.plain`."""
        text, table = self._text, self._table
        return {
            text(name): text(each) if type(each) is str else table[each[0]] if type(each) is list else cleaned(each)
            for name, each in object_of(plain).items()
        }

    def changed(self, before: Members | None, plain: object) -> Members | None:
        """Return an object from `MembersWriter.plain_change`."""
        if plain is None or type(plain) is dict:
            return None if plain is None else self.value(plain)
        changed, gone = list_of(plain)
        if before is None:
            raise ValueError("a change of nothing")
        return patched(before, self.value(changed), list_of(gone))


NEW: Final = -1


def runs_between(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return runs of unique items in the new order: old start or `NEW`, and length.

    Items outside the runs are gone.
    """
    places = {id_: place for place, id_ in enumerate(before)}
    runs: list[tuple[int, int]] = []
    start = length = 0
    for id_ in after:
        place = places.get(id_, NEW)
        if place == (NEW if start == NEW else start + length) and length:
            length += 1
            continue
        if length:
            runs.append((start, length))
        start, length = place, 1
    if length:
        runs.append((start, length))
    return runs


def reordered(before: Sequence[T], runs: Iterable[Any], new: Sequence[T]) -> list[T]:
    """Return the items after `runs_between`; raise `ValueError` if they do not fit."""
    added, items = iter(new), list[T]()
    for start, length in map(list_of, runs):
        if not 0 < length <= len(before) + len(new) - len(items):
            raise ValueError("more items than there are")
        items += islice(added, length) if start == NEW else before[COUNT.value(start) : start + length]
    if any(True for _ in added):
        raise ValueError("an item without a place")
    return items


def difference_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Members, list[str]]:
    """Return new or changed members, and names of removed members."""
    changed = {name: each for name, each in after.items() if name not in before or not is_same(before[name], each)}
    return changed, [name for name in before if name not in after]


def patched(before: Mapping[str, Any], changed: Mapping[str, Any], gone: Sequence[str]) -> Members:
    """Return an object after a change, new members last."""
    result = {**before, **changed}
    for name in gone:
        result.pop(name, None)
    return result
