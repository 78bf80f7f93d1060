"""An environment's changes: fields that differ, tags, and flapping."""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Kind
from envwatch.model import limits
from envwatch.model.environment import API_FIELDS, LABELS, Environment, mode_of
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envwatch.fleet.presence import Verdict
    from envwatch.model.clock import ServerMs
    from envwatch.model.text import SafeText


SAME_INSTANT_MS: Final = limits.SAME_CONNECTION_WITHIN / MS


EVENT_KINDS: Final[Mapping[str, Kind]] = {
    "name": Kind.RENAMED,
    "mode": Kind.MODE,
    "user_id": Kind.CHANGED,
    "version": Kind.VERSION,
    "branch": Kind.BRANCH,
    "working_directory": Kind.CHANGED,
    "node_version": Kind.CHANGED,
    "os": Kind.CHANGED,
}
_SOURCES = attrgetter(*dict.fromkeys(name if name in API_FIELDS else "metadata" for name in (*EVENT_KINDS, "pod_id")))
"""The declared fields that hold the attributes; mostly unchanged."""


def has_same_sources(before: Environment, after: Environment) -> bool:
    """Whether the sources of all event fields are equal."""
    return bool(_SOURCES(before) == _SOURCES(after))


def changes(before: Environment, after: Environment) -> Iterator[tuple[Kind, str, SafeText | None, SafeText | None]]:
    """Yield kind, label and both values of each changed field, in a fixed order.

    Instants and connections, which change all the time, are left out.
    """
    if has_same_sources(before, after):
        return
    for name, kind in EVENT_KINDS.items():
        was, now = value_of(before, name), value_of(after, name)
        if was != now:
            yield kind, LABELS[name], was, now
    # The pod is null while offline, so only a change between two pods counts.
    was, now = before.pod_id, after.pod_id
    if was and now and was != now:
        yield Kind.CHANGED, LABELS["pod_id"], was, now


def value_of(environment: Environment, name: str) -> SafeText | None:
    """Return an attribute's text, a mode under the current name."""
    return mode_of(environment.mode) if name == "mode" else getattr(environment, name)


def is_new_connection(before: Environment, after: Environment) -> bool:
    """Whether the connection was replaced: the id differs, or `connectedAt` by a second or more."""
    if not before.connection_id or not after.connection_id:
        return False
    if before.connection_id != after.connection_id:
        return True
    if before.connected_at is None or after.connected_at is None:
        return False
    return abs(after.connected_at - before.connected_at) >= SAME_INSTANT_MS


def is_new_process(before: Environment, after: Environment) -> bool:
    """Whether the listener changed, by instance or version."""
    pairs = (
        (before.listener_instance_id, after.listener_instance_id),
        (before.version, after.version),
        (before.node_version, after.node_version),
    )
    return any(was and now and was != now for was, now in pairs)


_MARK_DURATION_MS: Final = limits.MARK_DURATION / MS


class ChangeTag(StrEnum):
    """Tags of changes, at most five letters, most important first."""

    NEW = "NEW"
    """Went offline, is gone, or appeared as offline."""
    BACK = "BACK"
    """Online or listed again."""
    JOINED = "JOIN"
    """Appeared online."""
    MOVED = "MOVED"
    MODE = "MODE"
    VERSION = "VER"
    CONNECTION = "CONN"


_RANKS = {tag: rank for rank, tag in enumerate(ChangeTag)}


class RecentChange(NamedTuple):
    """A change with a moment."""

    tag: ChangeTag
    at: ServerMs

    def is_recent(self, now: float) -> bool:
        """Whether to show the change (server's clock, ms)."""
        return now - self.at < _MARK_DURATION_MS


def appearance(verdict: Verdict, at: ServerMs) -> RecentChange:
    """Return the change of a new environment."""
    return RecentChange(ChangeTag.JOINED if verdict.is_up else ChangeTag.NEW, at)


def turn(verdict: Verdict, at: ServerMs) -> RecentChange:
    """Return the change of coming or going."""
    return RecentChange(ChangeTag.BACK if verdict.is_up else ChangeTag.NEW, at)


def later_change(
    last: RecentChange | None, before: Environment, after: Environment, at: ServerMs
) -> RecentChange | None:
    """Return the change to show if an environment neither came nor went.

    A less important change does not replace a recent change.
    """
    tag = None if before is after else _tag_between(before, after)
    if tag is None or (last is not None and last.is_recent(at) and _RANKS[last.tag] < _RANKS[tag]):
        return last
    return RecentChange(tag, at)


def _tag_between(before: Environment, after: Environment) -> ChangeTag | None:
    if not has_same_sources(before, after):
        if mode_of(before.mode) != mode_of(after.mode):
            return ChangeTag.MODE
        if before.version != after.version:
            return ChangeTag.VERSION
    return ChangeTag.CONNECTION if is_new_connection(before, after) else None


_SLOTS = limits.FLAP_SAMPLES - 1
_SLOT_MS = limits.FLAP_EVERY / MS
_STEP = (limits.FLAP_HIGH_WEIGHT - limits.FLAP_LOW_WEIGHT) / (_SLOTS - 1)


def change_rate(changed_at: Iterable[float], now: float) -> float:
    """Return the weighted share of slots with a change, from 0 to 100 percent, by Nagios' flap detection.

    Nagios weighs the 20 possible changes between a service's newest 21 samples from 1.25 (newest) to 0.75 (oldest).
    Here a sample is a slot of 30 s, which counts if presence or connection changed. Instants are in ms.
    """
    slots = {int((now - at) // _SLOT_MS) for at in changed_at}
    return sum(limits.FLAP_HIGH_WEIGHT - _STEP * slot for slot in slots if 0 <= slot < _SLOTS) * 100 / _SLOTS


def is_flapping(changed_at: Iterable[float], now: float, *, was_flapping: bool) -> bool:
    """Whether the environment flaps: from 30 % on, until 20 % or less."""
    rate = change_rate(changed_at, now)
    return rate > limits.FLAP_OFF if was_flapping else rate >= limits.FLAP_ON
