"""State files keep screen settings, acknowledgements, silences and alert states between runs; never configuration.

An unreadable file counts as empty. A damaged file is renamed before the next write, and its readable entries stay.
Processes may write at once: a thread merges changes under a lock, and the last change of a name wins.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections import deque
from math import inf
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from envwatch import files
from envwatch.alerts.acknowledgements import ACK_ENTRY, Acks, ServerKey, acks_of, name_of, with_changes
from envwatch.alerts.alert_policy import WORD_ENTRY, Word, Words, policy_words
from envwatch.alerts.alert_state import PARTS as ALERT_PARTS
from envwatch.alerts.alert_state import unreadable_in
from envwatch.alerts.silences import ANY_SILENCE, Silences, silences_content, silences_of
from envwatch.alerts.uptime_record import unreadable_uptimes
from envwatch.model import limits
from envwatch.model.redactor import LIKE_A_KEY, redactor
from envwatch.model.text import SafeText, enumerated
from envwatch.model.times import MS
from envwatch.stored.entries import ReadText, content_of_text, entries_in, readable, text_of_content

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from envwatch.fleet.tracking import MatcherOf
    from envwatch.model.acks import Ack
    from envwatch.stored.codecs import Codec


Changes: TypeAlias = "Mapping[Any, Any]"
"""New values by name; None removes a name."""

_CLOSE_TIMEOUT_S: Final = 1.5
"""Less than the exit guard allows; writing takes up to 0.5 s on a busy machine."""

T = TypeVar("T")

_NAMED: Final = 5
"""Damaged entries named in a line."""


class StateFormat(NamedTuple):
    """A kind of state file."""

    about: str
    """The loss if the file is damaged."""
    limit: int
    """Most bytes of a file."""
    changed: Callable[[dict[str, Any], Changes], dict[str, Any]]
    """Returns the new content within the limit, with unknown names, perhaps of a newer envwatch."""
    unreadable: Callable[[dict[str, Any]], Sequence[SafeText]] = lambda _content: ()
    """Returns where the content has entries that cannot be read."""
    parts: frozenset[str] = frozenset()
    """Names of objects with entries of their own."""

    def read_or_empty(self, path: Path) -> dict[str, Any]:
        """Return the content; empty if missing, damaged or unreadable."""
        try:
            return self.read(path).content
        except OSError:
            return {}

    def read(self, path: Path) -> ReadText:
        """Return the content of the readable lines, with the names of damaged lines; empty if the file is missing.

        Raises:
            OSError: if the file is unreadable.
        """
        try:
            with os.fdopen(files.open_regular(path), "rb") as file:
                text = file.read(self.limit).decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ReadText({}, ())
        return content_of_text(text, self.parts)

    def loss(self, read: ReadText) -> str | None:
        """Return a text about what cannot be read, if anything: `forgot in part …: cannot read env-9 and line 3`."""
        damaged = (*self.unreadable(read.content), *read.damaged)
        if not damaged:
            return None
        if not read.content:
            return f"forgot {self.about}: damaged"
        return f"forgot in part {self.about}: cannot read {enumerated(damaged[:_NAMED], len(damaged))}"

    def text(self, content: Mapping[str, Any]) -> str:
        """Return the text of a file."""
        return text_of_content(content, self.parts)


def entries_within(limit: int, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return entries within `limit` bytes, in order; larger entries are skipped."""
    kept: dict[str, Any] = {}
    room = limit - len(text_of_content({}))
    for name, entry in entries.items():
        size = len(json.dumps({name: entry})) + 1
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
            self.loss = self._format.loss(self._format.read(path))
            place = f"{path}, kept as {path.name}.aside"
        except OSError as error:
            self.loss = f"forgot {self._format.about}: {error.strerror}"
            place = str(path)
        self._is_noted = self.loss is not None
        if self.loss is not None:
            note(f"{self.loss} ({place})")

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
        is_damaged = state_format.loss(before) is not None
        content = state_format.text(state_format.changed(before.content, changes)).encode()
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        files.write_private(fresh, content)
        aside = None
        try:
            if is_damaged:
                aside = files.set_aside(path, f"{path.name}.aside")
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            if aside is not None:
                aside.replace(path)  # the next write reports it
            raise
        return aside


_LONGEST: Final = 200
_BETWEEN_WORDS: Final = re.compile(r"""[\s:,"*]+|(?<!sk)-""")

MOST_FILTERS: Final = 100

MOST_ACKS: Final = 10_000
"""Further acknowledgements drop the oldest: a lost environment may never come back."""


def remembered(path: Path) -> dict[str, Any]:
    """Return the last run's undamaged screen settings.

    `hints` is False after the user closed the hints.
    """
    content = REMEMBERED.read_or_empty(path)
    read = {"theme": _word, "columns": _words, "bell": _flag, "hints": _flag}
    return {name: value for name, of in read.items() if (value := of(content.get(name))) is not None}


def remembered_filters(path: Path) -> Sequence[str]:
    """Return the user's last filters, oldest first."""
    return _filters_in(REMEMBERED.read_or_empty(path))


def _filters_in(content: Mapping[str, Any]) -> list[str]:
    filters = content.get("filters")
    return [*filter(None, map(_word, filters))] if isinstance(filters, list) else []


def _with_screen(content: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with changed settings; `filter` is added to the last filters of all processes."""
    settings = {name: value for name, value in changes.items() if name != "filter"}
    following = with_changes(content, settings)
    text = _word(changes.get("filter"))
    if text is not None and not _may_be_secret(text):
        others = (each for each in _filters_in(content) if each != text)
        following["filters"] = [*others, text][-MOST_FILTERS:]
    return following


def _may_be_secret(text: str) -> bool:
    """Whether a text has a secret, or a word like a key; `-` joins the parts of names, which are shorter than keys."""
    words = _BETWEEN_WORDS.split(text)
    return redactor()(text) != text or any(map(LIKE_A_KEY.fullmatch, words))


def acknowledged(path: Path) -> Acks:
    """Return a file's acknowledgements."""
    return acks_of(ACKNOWLEDGEMENTS.read_or_empty(path))


def _with_acks(content: dict[str, Any], changes: Mapping[ServerKey, Ack | None]) -> dict[str, Any]:
    acks = with_changes(acks_of(content), changes)
    # An ended acknowledgement is kept for a day, for processes that did not run.
    newest = max((ack.at for ack in changes.values() if ack is not None), default=-inf)
    kept = {key: ack for key, ack in acks.items() if ack.until is None or newest - ack.until < _ENDED_KEPT_MS}
    newest_first = dict(sorted(kept.items(), key=lambda item: item[1].at, reverse=True)[:MOST_ACKS])
    entries = _with_unchanged(content, ACK_ENTRY, newest_first, changes)
    following = entries_within(ACKNOWLEDGEMENTS.limit, entries)
    if any(ack is not None and name_of(key) not in following for key, ack in changes.items()):
        raise OSError(errno.EFBIG, "there are too many acknowledgements")
    return following


def _with_unchanged(
    content: Mapping[str, Any],
    codec: Codec[tuple[ServerKey, T]],
    entries: Mapping[ServerKey, T],
    changed: Container[ServerKey],
) -> dict[str, Any]:
    """Return the content with `entries`: those unchanged as they stand, also with unknown fields."""
    following = {name: value for name, value in content.items() if not isinstance(value, dict)}
    known = {entry: content[name] for name, entry in readable(entries_in(content), codec, []).items()}
    for key, value in entries.items():
        entry = key, value
        stands = None if key in changed else known.get(entry)
        following[name_of(key)] = codec.plain(entry) if stands is None else stands
    return following


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _words(value: object) -> tuple[str, ...] | None:
    words = [_word(item) for item in value] if isinstance(value, list) else []
    return tuple(word for word in words if word) if words and all(words) else None


REMEMBERED: Final = StateFormat(about="how the screen looked", limit=1 << 16, changed=_with_screen)


def _unreadable(codec: Codec[Any]) -> Callable[[dict[str, Any]], Sequence[SafeText]]:
    def places(content: dict[str, Any]) -> Sequence[SafeText]:
        unread: list[SafeText] = []
        readable(entries_in(content), codec, unread)
        return unread

    return places


ACKNOWLEDGEMENTS: Final = StateFormat(
    about="which machines are acknowledged", limit=8 << 20, changed=_with_acks, unreadable=_unreadable(ACK_ENTRY)
)


MOST_SILENCES: Final = 1_000
"""More silences are refused: dropping a silence would end the silence early."""
_ENDED_KEPT_MS: Final = limits.OLD_AFTER / MS


def _with_silences(content: dict[str, Any], changes: Silences) -> dict[str, Any]:
    # An ended silence is kept for a day if possible: losses count from the end.
    newest = max((silence.at for silence in changes.values()), default=-inf)
    known = readable(entries_in(content), ANY_SILENCE, [])
    unknown = {name: value for name, value in content.items() if not isinstance(value, dict)}
    most = MOST_SILENCES if any(id_ not in content for id_ in changes) else len(content)
    for at in (newest - _ENDED_KEPT_MS, newest):
        kept = {id_: content[id_] for id_, silence in known.items() if id_ not in changes and silence.until > at}
        following = unknown | kept | silences_content(changes)
        if len(following) <= most and len(SILENCES.text(following)) < SILENCES.limit:
            return following
    raise OSError(errno.EFBIG, "there are too many silences")


SILENCES: Final = StateFormat(
    about="which machines are silenced",
    limit=4 << 20,
    changed=_with_silences,
    unreadable=_unreadable(ANY_SILENCE),
)


def silences_in(path: Path, matcher_of: MatcherOf) -> Silences:
    """Return a file's silences."""
    return silences_of(SILENCES.read_or_empty(path), matcher_of)


def _with_words(content: dict[str, Any], changes: Mapping[ServerKey, Word | None]) -> dict[str, Any]:
    words = with_changes(policy_words(content), changes)
    return entries_within(WORDS.limit, _with_unchanged(content, WORD_ENTRY, words, changes))


def words_in(path: Path) -> Words:
    """Return a file's words."""
    return policy_words(WORDS.read_or_empty(path))


_ROWS_BYTES: Final = 32 << 20
"""Most bytes of the rows; further rows keep only the id."""


def _alert_content(content: dict[str, Any], changes: Changes) -> dict[str, Any]:
    following = {**content, **changes}
    return {**following, "rows": entries_within(_ROWS_BYTES, changes["rows"])} if "rows" in changes else following


ALERT_STATE: Final = StateFormat(
    about="which alerts wait or are open",
    limit=64 << 20,
    changed=_alert_content,
    unreadable=unreadable_in,
    parts=ALERT_PARTS,
)
"""A profile's alert state; a change may be the ledger alone."""

UPTIME: Final = StateFormat(
    about="which machines are up most of the time",
    limit=64 << 20,
    changed=lambda _content, changes: {**changes},
    unreadable=unreadable_uptimes,
    parts=frozenset({"rows"}),
)
"""A profile's uptime record, replaced as a whole."""

WORDS: Final = StateFormat(
    about="which machines always or never page", limit=4 << 20, changed=_with_words, unreadable=_unreadable(WORD_ENTRY)
)
