"""The two state files: how the screen looked, and which problems were acknowledged.

Owns their content, and checks everything that it reads from them. `state_file` reads and writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from envwatch.fleet.alerting.acknowledgements import Acks, acks_of, entry_of, name_of
from envwatch.storage.state_file import StateFile, StateFormat, within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envwatch.fleet.alerting.acknowledgements import Ack, ServerKey

_LONGEST: Final = 200
"""Characters of a remembered text at most; a longer one is not envwatch's own."""

MOST_ACKS: Final = 1_000
"""Acknowledgements in the file at most: the newest."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The screen's settings as the last run left them; None for what was never chosen."""

    theme: str | None = None
    columns: tuple[str, ...] | None = None
    bell: bool | None = None
    hints: bool | None = None
    """False once the hints of the demo were closed, or followed."""


def remembered(path: Path) -> Remembered:
    """Return the screen's settings in a file: none, where it is missing or damaged."""
    content = REMEMBERED.read_or_empty(path)
    bell, hints = content.get("bell"), content.get("hints")
    return Remembered(
        theme=_word(content.get("theme")),
        columns=_words(content.get("columns")),
        bell=bell if isinstance(bell, bool) else None,
        hints=hints if isinstance(hints, bool) else None,
    )


def acknowledged(path: Path) -> Acks:
    """Return the acknowledged problems in a file: none, where it is missing or damaged."""
    return acks_of(ACKNOWLEDGEMENTS.read_or_empty(path))


def _with_changes(content: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    # Unknown names stay: a newer envwatch may have written them.
    return {name: value for name, value in {**content, **changes}.items() if value is not None}


def _with_acks(content: dict[str, Any], changes: Mapping[ServerKey, Ack | None]) -> dict[str, Any]:
    known = acks_of(content)
    acks = {key: ack for key, ack in {**known, **changes}.items() if ack is not None}
    newest_first = dict(sorted(acks.items(), key=lambda item: item[1].at, reverse=True)[:MOST_ACKS])
    # Unknown names stay here too, beside the acknowledgements and within each that does not change.
    entries = {name: value for name, value in content.items() if not isinstance(value, dict)}
    # Of two spellings of one key, one may be damaged or older.
    before = {
        key: each
        for name, each in content.items()
        for key, ack in acks_of({name: each}).items()
        if ack == known.get(key)
    }
    for key, ack in newest_first.items():
        entry = entry_of(key, ack)
        entries[name_of(key)] = entry if key in changes else {**before[key], **entry}
    return within(ACKNOWLEDGEMENTS.limit, entries)


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() else None


def _words(value: object) -> tuple[str, ...] | None:
    words = [_word(item) for item in value] if isinstance(value, list) else []
    return tuple(word for word in words if word) if words and all(words) else None


REMEMBERED: Final = StateFormat(about="how the screen looked", limit=1 << 16, changed=_with_changes)
ACKNOWLEDGEMENTS: Final = StateFormat(about="which problems were acknowledged", limit=1 << 20, changed=_with_acks)


class RememberedFile(StateFile):
    """The file of the screen's settings, by the names of `Remembered`'s fields."""

    format = REMEMBERED


class AcknowledgementsFile(StateFile):
    """The file of acknowledgements (`Ack`), by `ServerKey`."""

    format = ACKNOWLEDGEMENTS
