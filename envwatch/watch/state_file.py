"""State files keep screen settings, acknowledgements, silences and alert states between runs; never configuration.

An unreadable file counts as empty; a damaged file is renamed before the next write. Processes may write at once: a
thread merges changes under a lock, and the last change of a name wins.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections import deque
from math import inf
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from envwatch import files
from envwatch.alerts.acknowledgements import Acks, ServerKey, acks_of, entry_of, name_of, with_changes
from envwatch.alerts.alert_policy import Word, Words, policy_words, word_entry
from envwatch.alerts.alert_state import VERSION
from envwatch.alerts.silences import Silences, silences_content, silences_of
from envwatch.alerts.uptime_record import damage_of
from envwatch.model import limits
from envwatch.model.acks import Ack, finite_number
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from envwatch.fleet.tracking import MatcherOf


Changes: TypeAlias = "Mapping[Any, Any]"
"""New values by name; None removes a name."""

_CLOSE_TIMEOUT_S: Final = 1.5
"""Less than the exit guard allows; writing takes up to 0.5 s on a busy machine."""

T = TypeVar("T")


class StateFormat(NamedTuple):
    """A kind of state file."""

    about: str
    """The loss if the file is damaged."""
    limit: int
    """Most bytes of a file."""
    changed: Callable[[dict[str, Any], Changes], dict[str, Any]]
    """Returns the new content within the limit, with unknown names, perhaps of a newer envwatch."""
    damage: Callable[[dict[str, Any]], str | None] = lambda _content: None
    """Returns a text about unfit values, or another version, which set the file aside."""

    def read_or_empty(self, path: Path) -> dict[str, Any]:
        """Return the content; empty if missing, damaged or unreadable."""
        try:
            return self.read(path) or {}
        except OSError:
            return {}

    def read(self, path: Path) -> dict[str, Any] | None:
        """Return the content; empty if missing, None if damaged.

        Raises:
            OSError: if the file is unreadable.
        """
        try:
            with os.fdopen(files.open_regular(path), "rb") as file:
                content = json.loads(file.read(self.limit))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None


def entries_within(limit: int, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries within `limit` bytes, in order; larger entries are skipped."""
    kept: dict[str, Any] = {}
    room = limit
    for name, entry in entries.items():
        size = len(json.dumps({name: entry}, indent=2)) + 1  # the braces make up for the comma
        if size <= room:
            kept[name] = entry
            room -= size
    return kept


class ChangedFile(Generic[T]):
    """Reads a file, perhaps missing, again after changes; `read` never fails."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self._path = path
        self._read = read
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> T | None:
        """Return the content at first and after changes, else None."""
        seen = files.file_signature(self._path)
        if seen == self._seen:
            return None
        self._seen = seen
        return self._read(self._path)

    def forget(self) -> None:
        """Let the next `changed` return the content."""
        self._seen = None


class StateFile:
    """A state file and the thread that writes changes.

    `note` gets a line, in any thread, for damage and for the first failed write.
    """

    def __init__(self, state_format: StateFormat, path: Path, note: Callable[[str], None]) -> None:
        self._format = state_format
        self._path = path
        self._note = note
        self._changes: SimpleQueue[Changes | Callable[[], None] | None] = SimpleQueue()
        self._unwritten: deque[Changes] = deque()
        self._thread: threading.Thread | None = None
        self.error: OSError | None = None
        """Why the newest write failed, if so; set by the writing thread."""
        try:
            content = self._format.read(path)
            trouble = "damaged" if content is None else self._format.damage(content)
            place = f"{path}, kept as {path.name}.aside"
        except OSError as error:
            trouble, place = error.strerror, str(path)
        self._is_noted = bool(trouble)
        if trouble:
            note(f"forgot {self._format.about}: {trouble} ({place})")

    def keep(self, changes: Changes = MappingProxyType({}), /, **named: object) -> None:
        """Queue changes for the writing thread; never waits or fails."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="state file", daemon=True)
            self._thread.start()
        kept = {**changes, **named}  # the thread reads later
        self._unwritten.append(kept)
        self._changes.put(kept)

    @property
    def unwritten(self) -> Sequence[Changes]:
        """Changes that the file may lack, oldest first."""
        return tuple(self._unwritten)

    def call_when_written(self, function: Callable[[], None]) -> None:
        """Call a function in the writing thread after the queued changes, written or not."""
        if self._thread is None:
            function()
        else:
            self._changes.put(function)

    def close(self) -> None:
        """Write queued changes, in bounded time."""
        if self._thread is not None:
            self._changes.put(None)
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while (changes := self._changes.get()) is not None:
            if callable(changes):
                changes()
                continue
            try:
                aside = merge(self._path, self._format, changes)
            except OSError as error:
                if self.error is None:
                    self._note(f"cannot remember {self._format.about}: {error.strerror} ({self._path})")
                self.error = error
            else:
                self.error = None
                if aside is not None and not self._is_noted:
                    self._note(f"set aside what was damaged: {aside}")
                self._is_noted = False
            self._unwritten.popleft()


def merge(path: Path, state_format: StateFormat, changes: Changes) -> Path | None:
    """Merge changes into a file under a lock; return a damaged file's new path.

    Raises:
        OSError: on failure; nothing is merged.
    """
    files.make_private_folder(path.parent)
    with files.locked(path.with_name(f"{path.name}.lock")):
        before = state_format.read(path)
        content = json.dumps(state_format.changed(before or {}, changes), indent=2, sort_keys=True).encode() + b"\n"
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        files.write_private(fresh, content)
        aside = None
        try:
            if before is None or state_format.damage(before):
                aside = files.set_aside(path, f"{path.name}.aside")
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            if aside is not None:
                aside.replace(path)  # the next write reports it
            raise
        return aside


_LONGEST: Final = 200

MOST_ACKS: Final = 10_000
"""Further acknowledgements drop the oldest: a lost environment may never come back."""


def remembered(path: Path) -> dict[str, Any]:
    """Return the last run's undamaged screen settings.

    `hints` is False after the user closed the hints.
    """
    content = REMEMBERED.read_or_empty(path)
    read = {"theme": _word, "columns": _words, "bell": _flag, "hints": _flag}
    return {name: value for name, of in read.items() if (value := of(content.get(name))) is not None}


def acknowledged(path: Path) -> Acks:
    """Return a file's acknowledgements."""
    return acks_of(ACKNOWLEDGEMENTS.read_or_empty(path))


def _with_acks(content: dict[str, Any], changes: Mapping[ServerKey, Ack | None]) -> dict[str, Any]:
    known = acks_of(content)
    acks = with_changes(known, changes)
    # An ended acknowledgement is kept for a day, for processes that did not run.
    newest = max((ack.at for ack in changes.values() if ack is not None), default=-inf)
    kept = {key: ack for key, ack in acks.items() if ack.until is None or newest - ack.until < _ENDED_KEPT_MS}
    newest_first = dict(sorted(kept.items(), key=lambda item: item[1].at, reverse=True)[:MOST_ACKS])
    # Unknown names are kept, also within acknowledgements.
    entries = {name: value for name, value in content.items() if not isinstance(value, dict)}
    before = {key: each for each in content.values() for key, ack in acks_of({"": each}).items() if ack == known[key]}
    for key, ack in newest_first.items():
        entry = entry_of(key, ack)
        entries[name_of(key)] = entry if key in changes else {**before[key], **entry}
    following = entries_within(ACKNOWLEDGEMENTS.limit, entries)
    if any(ack is not None and name_of(key) not in following for key, ack in changes.items()):
        raise OSError(errno.EFBIG, "there are too many acknowledgements")
    return following


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _words(value: object) -> tuple[str, ...] | None:
    words = [_word(item) for item in value] if isinstance(value, list) else []
    return tuple(word for word in words if word) if words and all(words) else None


REMEMBERED: Final = StateFormat(about="how the screen looked", limit=1 << 16, changed=with_changes)


def _unread_acks(content: dict[str, Any]) -> str | None:
    has_unread = any(isinstance(entry, dict) and not acks_of({"": entry}) for entry in content.values())
    return "some entries cannot be read" if has_unread else None


ACKNOWLEDGEMENTS: Final = StateFormat(
    about="which machines are acknowledged", limit=8 << 20, changed=_with_acks, damage=_unread_acks
)


MOST_SILENCES: Final = 1_000
"""More silences are refused: dropping a silence would end the silence early."""
_ENDED_KEPT_MS: Final = limits.OLD_AFTER / MS


def _with_silences(content: dict[str, Any], changes: Silences) -> dict[str, Any]:
    # An ended silence is kept for a day if possible: losses count from the end.
    newest = max((silence.at for silence in changes.values()), default=float("-inf"))
    most = MOST_SILENCES if any(id_ not in content for id_ in changes) else len(content)
    for at in (newest - _ENDED_KEPT_MS, newest):
        kept = {id_: entry for id_, entry in content.items() if id_ not in changes and not _ended_by(entry, at)}
        following = kept | silences_content(changes)
        if len(following) <= most and len(json.dumps(following, indent=2)) < SILENCES.limit:
            return following
    raise OSError(errno.EFBIG, "there are too many silences")


def _ended_by(entry: object, at: float) -> bool:
    until = finite_number(entry.get("until")) if isinstance(entry, dict) else None
    return until is not None and until <= at


SILENCES: Final = StateFormat(about="which machines are silenced", limit=4 << 20, changed=_with_silences)


def silences_in(path: Path, matcher_of: MatcherOf) -> Silences:
    """Return a file's silences."""
    return silences_of(SILENCES.read_or_empty(path), matcher_of)


def _with_words(content: dict[str, Any], changes: Mapping[ServerKey, Word | None]) -> dict[str, Any]:
    entries = {name_of(key): None if word is None else word_entry(key, word) for key, word in changes.items()}
    return entries_within(WORDS.limit, with_changes(content, entries))


def words_in(path: Path) -> Words:
    """Return a file's words."""
    return policy_words(WORDS.read_or_empty(path))


_ROWS_BYTES: Final = 32 << 20
"""Most bytes of the rows; further rows keep only the id."""


def _alert_content(content: dict[str, Any], changes: Changes) -> dict[str, Any]:
    known = content if content.get("version") == changes.get("version") else {}
    following = {**known, **changes}
    return {**following, "rows": entries_within(_ROWS_BYTES, changes["rows"])} if "rows" in changes else following


def _other_version(content: dict[str, Any]) -> str | None:
    is_known = not content or content.get("version") == VERSION
    return None if is_known else "another version of envwatch wrote it"


ALERT_STATE: Final = StateFormat(
    about="which alerts wait or are open", limit=64 << 20, changed=_alert_content, damage=_other_version
)
"""A profile's alert state; a change may be the ledger alone."""

UPTIME: Final = StateFormat(
    about="which machines are up most of the time",
    limit=64 << 20,
    changed=lambda _content, changes: {**changes},
    damage=damage_of,
)
"""A profile's uptime record, replaced as a whole."""

WORDS: Final = StateFormat(about="which machines always or never page", limit=4 << 20, changed=_with_words)
