"""Objects of a row (`metadata`, unknown fields) as plain values: a list or object in them is written once.

Pure. A row's texts differ from those of other rows, its lists and objects mostly do not. So they stand in a table of
their own, and the row has the number of its entry, in a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic_core import to_json

from envwatch.model.text import cleaned
from envwatch.storage.history.encoding.codecs import is_same, list_of, object_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Members: TypeAlias = "dict[str, Any]"

_NESTED: Final = (list, dict)
_KEPT: Final = 4_096
"""Lists and objects that are kept; when there are more, all are forgotten."""
_KEPT_BYTES: Final = 4_096
"""Of one of them, as JSON; larger ones are not kept."""
_nested: dict[bytes, Any] = {}


def nested_value(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """Return a list or object, cleaned; equal ones are one object, as `model.page.Pool` has it while rows come in."""
    text = to_json(value, inf_nan_mode="constants")  # distinguishes 1, 1.0 and true
    known = _nested.get(text)
    if known is None:
        known = cleaned(value)
        if len(text) <= _KEPT_BYTES:
            if len(_nested) >= _KEPT:
                _nested.clear()
            _nested[text] = known
    return known


def members_of(plain: object) -> Members:
    """Return an object of a row that stands as it is, cleaned."""
    return {
        text_of(name): text_of(value)
        if type(value) is str
        else nested_value(value)
        if type(value) in _NESTED
        else cleaned(value)
        for name, value in object_of(plain).items()
    }


class MembersWriter:
    """Writes the objects of one frame's rows."""

    def __init__(self) -> None:
        self.table: list[Any] = []
        """The lists and objects in them; all of it is to be written too."""
        self._places: dict[int, int] = {}

    def plain(self, members: Members) -> dict[str, Any]:
        """Return an object as a plain value."""
        return {name: [self._place(value)] if type(value) in _NESTED else value for name, value in members.items()}

    def plain_change(self, before: Members | None, after: Members | None) -> Any:  # noqa: ANN401  a plain value
        """Return what changed, as a plain value: members that are new or other, and the names of those that went.

        The whole object, or null, where that does not give the members in their order.
        """
        if before is None or after is None:
            return None if after is None else self.plain(after)
        changed, gone = difference_of(before, after)
        if [*patched(before, changed, gone)] != [*after]:
            return self.plain(after)
        return [self.plain(changed), gone]

    def _place(self, value: Any) -> int:  # noqa: ANN401  any JSON value
        # The reducer's rows share equal values, see `model.page.Pool`: one object is one entry.
        place = self._places.setdefault(id(value), len(self.table))
        if place == len(self.table):
            self.table.append(value)
        return place


class MembersReader:
    """Reads the objects of one frame's rows; equal texts become one object."""

    def __init__(self, table: Sequence[Any]) -> None:
        self._table = [nested_value(value) for value in table]
        self._texts: dict[str, str] = {}

    def value(self, plain: object) -> Members:
        """Return what `MembersWriter.plain` wrote."""
        text, table = self.text, self._table
        return {
            text(name): text(each) if type(each) is str else table[each[0]] if type(each) is list else cleaned(each)
            for name, each in object_of(plain).items()
        }

    def changed(self, before: Members | None, plain: object) -> Members | None:
        """Return what `MembersWriter.plain_change` wrote, given the object before."""
        if plain is None or type(plain) is dict:
            return None if plain is None else self.value(plain)
        changed, gone = list_of(plain)
        if before is None:
            raise ValueError("a change of nothing")
        return patched(before, self.value(changed), list_of(gone))

    def text(self, text: str) -> str:
        """Return a text, cleaned."""
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = text_of(text)
        return known


def difference_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Members, list[str]]:
    """Return the members that are new or other, and the names of those that went."""
    changed = {name: each for name, each in after.items() if name not in before or not is_same(before[name], each)}
    return changed, [name for name in before if name not in after]


def patched(before: Mapping[str, Any], changed: Mapping[str, Any], gone: Sequence[str]) -> Members:
    """Return the members after a difference, those that are new at the end."""
    result = {**before, **changed}
    for name in gone:
        result.pop(name, None)
    return result
