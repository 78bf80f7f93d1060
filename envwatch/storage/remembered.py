"""What envwatch remembers from run to run: how the screen looked, and which problems a person has acknowledged.

Owns what stands in the files, and believes nothing that it reads there. How they are kept is `state`'s business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from envwatch.fleet.acknowledgements import Acks, acks_of, content_of
from envwatch.model.text import Clean, clean
from envwatch.storage.state_file import Form, StateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envwatch.fleet.acknowledgements import Ack

_LONGEST: Final = 200
"""Characters of a text that can be ours."""

MOST_ACKS: Final = 1_000
"""Acknowledgements that are kept: the newest."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the last run left; None for what nobody has chosen yet."""

    theme: str | None = None
    sort: str | None = None
    columns: tuple[str, ...] | None = None
    bell: bool | None = None


class Choices(TypedDict, total=False):
    """What can be kept; None forgets it."""

    theme: str | None
    sort: str | None
    columns: tuple[str, ...] | None
    bell: bool | None


def remembered(path: Path) -> Remembered:
    """Return what a file remembers of the screen: nothing, where it is missing or damaged."""
    kept = CHOICES.content(path)
    return Remembered(
        theme=_word(kept.get("theme")),
        sort=_word(kept.get("sort")),
        columns=_words(kept.get("columns")),
        bell=_yes_or_no(kept.get("bell")),
    )


def acknowledged(path: Path) -> Acks:
    """Return which problems a file remembers as acknowledged: none, where it is missing or damaged."""
    return acks_of(ACKNOWLEDGEMENTS.content(path))


class Memory(StateFile):
    """The file of choices; see `StateFile`."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        super().__init__(path, CHOICES, note)

    def keep(self, **changes: Unpack[Choices]) -> None:
        """Remember choices by their names, some time soon; never waits, never fails."""
        self.put(changes)


class Acknowledgements(StateFile):
    """The file of acknowledged problems; see `StateFile`."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        super().__init__(path, ACKNOWLEDGEMENTS, note)

    def keep(self, changes: Mapping[Clean, Ack | None]) -> None:
        """Remember acknowledgements by the environments' ids, some time soon; None forgets; never waits or fails."""
        self.put(changes)


def _with_choices(content: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    # Names that we do not know stay: a newer envwatch may have written them.
    return {name: value for name, value in {**content, **changes}.items() if value is not None}


def _with_acks(content: dict[str, Any], changes: Mapping[Clean, Ack | None]) -> dict[str, Any]:
    acks = {id_: ack for id_, ack in {**acks_of(content), **changes}.items() if ack is not None}
    newest_first = sorted(acks.items(), key=lambda entry: entry[1].at, reverse=True)
    # What we do not know stays here too, beside the acknowledgements and within each that nobody changes.
    others = {name: told for name, told in content.items() if not isinstance(told, dict)}
    stood = {clean(name): told for name, told in content.items() if name not in others}
    known = content_of(dict(newest_first[:MOST_ACKS]))
    entries = others | {id_: told if id_ in changes else {**stood[Clean(id_)], **told} for id_, told in known.items()}
    kept: dict[str, Any] = {}
    room = ACKNOWLEDGEMENTS.limit
    for name, told in entries.items():
        size = len(json.dumps({name: told}, indent=2)) + 1  # its own braces make up for the comma
        if size <= room:
            kept[name] = told
            room -= size
    return kept


def _word(told: object) -> str | None:
    return told if isinstance(told, str) and 0 < len(told) <= _LONGEST and told.isprintable() else None


def _words(told: object) -> tuple[str, ...] | None:
    words = [_word(word) for word in told] if isinstance(told, list) else []
    return tuple(word for word in words if word) if words and all(words) else None


def _yes_or_no(told: object) -> bool | None:
    return told if isinstance(told, bool) else None


CHOICES: Final = Form(about="how the screen looked", limit=1 << 16, changed=_with_choices)
ACKNOWLEDGEMENTS: Final = Form(about="which problems were acknowledged", limit=1 << 20, changed=_with_acks)
