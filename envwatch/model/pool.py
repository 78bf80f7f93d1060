"""Makes equal values of decoded JSON one object: 100,000 rows hold the same few texts, lists and objects.

Shared values must not be changed in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

if TYPE_CHECKING:
    from pydantic import JsonValue

LIMIT: Final = 10_000
"""Values kept of each kind: what differs from row to row must not fill the memory twice."""


class Pool:
    """Values seen so far."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._nested: dict[bytes, JsonValue] = {}

    def share(self, members: dict[str, JsonValue]) -> None:
        """Replace each value by an equal one that was seen before, if there is one."""
        for name, value in members.items():
            members[name] = self._shared(value)

    def _shared(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (dict, list)):
            # The text distinguishes 1, 1.0 and true, which are equal in Python.
            text = to_json(value)
            return self._nested[text] if text in self._nested else self._kept(text, value)
        return value

    def _kept(self, text: bytes, value: dict[str, JsonValue] | list[JsonValue]) -> JsonValue:
        shared: JsonValue
        if isinstance(value, dict):
            shared = {self._text(name): self._shared(item) for name, item in value.items()}
        else:
            shared = [self._shared(item) for item in value]
        if len(self._nested) < LIMIT:
            self._nested[text] = shared
        return shared

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text) if len(self._texts) < LIMIT else self._texts.get(text, text)

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._texts) + len(self._nested)
