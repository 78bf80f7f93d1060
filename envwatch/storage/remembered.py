"""The state files: screen settings, acknowledgements, silences, alert state."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from envwatch.fleet.alerting.acknowledgements import Ack, Acks, ServerKey, acks_of, entry_of, finite_number, name_of
from envwatch.fleet.alerting.silences import MatcherOf, Silence, Silences, content_of, silences_of
from envwatch.storage.state_file import StateFormat, within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envwatch.model.text import SafeText


_LONGEST: Final = 200

MOST_ACKS: Final = 1_000


class Remembered(NamedTuple):
    """The last run's screen settings; None for a setting that was never chosen."""

    theme: str | None = None
    columns: tuple[str, ...] | None = None
    bell: bool | None = None
    hints: bool | None = None
    """False after the user closed or followed the demo's hints."""


def remembered(path: Path) -> Remembered:
    """Return the screen settings; none if missing or damaged."""
    content = REMEMBERED.read_or_empty(path)
    bell, hints = content.get("bell"), content.get("hints")
    return Remembered(
        theme=_word(content.get("theme")),
        columns=_words(content.get("columns")),
        bell=bell if isinstance(bell, bool) else None,
        hints=hints if isinstance(hints, bool) else None,
    )


def acknowledged(path: Path) -> Acks:
    """Return the acknowledgements; none if missing or damaged."""
    return acks_of(ACKNOWLEDGEMENTS.read_or_empty(path))


def _with_changes(content: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    # Unknown names are kept: a newer envwatch may have written them.
    return {name: value for name, value in {**content, **changes}.items() if value is not None}


def _with_acks(content: dict[str, Any], changes: Mapping[ServerKey, Ack | None]) -> dict[str, Any]:
    known = acks_of(content)
    acks = {key: ack for key, ack in {**known, **changes}.items() if ack is not None}
    newest_first = dict(sorted(acks.items(), key=lambda item: item[1].at, reverse=True)[:MOST_ACKS])
    # Unknown names are kept, also within acknowledgements.
    entries = {name: value for name, value in content.items() if not isinstance(value, dict)}
    # A key has two spellings; the entry of one may be damaged or older.
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


MOST_SILENCES: Final = 1_000
"""More silences are refused, because dropping an old silence would end the silence early."""


def _with_silences(content: dict[str, Any], changes: Mapping[SafeText, Silence | None]) -> dict[str, Any]:
    new = {id_: silence for id_, silence in changes.items() if silence is not None}
    # Silences that ended before a new silence began are dropped.
    newest = max((silence.at for silence in new.values()), default=float("-inf"))
    kept = {id_: entry for id_, entry in content.items() if id_ not in changes and not _ended_by(entry, newest)}
    following = kept | content_of(new)
    if new and (len(following) > MOST_SILENCES or len(json.dumps(following, indent=2)) + 1 > SILENCES.limit):
        raise OSError(errno.EFBIG, "there are too many silences")
    return following


def _ended_by(entry: object, at: float) -> bool:
    until = finite_number(entry.get("until")) if isinstance(entry, dict) else None
    return until is not None and until <= at


SILENCES: Final = StateFormat(about="which environments are silenced", limit=4 << 20, changed=_with_silences)


def silences_in(path: Path, matcher_of: MatcherOf) -> Silences:
    """Return the silences; none if missing or damaged."""
    return silences_of(SILENCES.read_or_empty(path), matcher_of)


def _replaced(_content: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    return dict(changes)


ALERT_STATE: Final = StateFormat(about="which alerts wait or are open", limit=64 << 20, changed=_replaced)
"""One profile's alert state; each change replaces the whole content."""

INCIDENTS_OF_1_0: Final = StateFormat(about="which incidents are open", limit=8 << 20, changed=_replaced)
"""`incidents.json` of 1.0.0, for all profiles; only read."""
