"""What changed: one value for each thing that happened to an environment or to our view of the fleet.

Owns the vocabulary of events and nothing of how they are found or shown. The age of a heartbeat is never an event.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import Clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from envwatch.fleet.presence import Verdict
    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment

NO_PROFILE: Final = Clean("")
"""The profile of everything, where only one is watched."""


class Kind(StrEnum):
    """The kinds of events."""

    APPEARED = "appeared"
    ONLINE = "online"
    OFFLINE = "offline"
    RECONNECTED = "reconnected"
    """A new connection, and the environment was never seen offline."""
    RESTARTED = "restarted"
    """The same, and the listener behind it is another process or another version."""
    GONE = "gone"
    RETURNED = "returned"
    """Listed again after it was gone."""
    MODE = "mode"
    VERSION = "version"
    BRANCH = "branch"
    RENAMED = "renamed"
    CHANGED = "changed"
    """Another field that a person set: directory, node version, OS, pod, user."""
    FLAPPING = "flapping"
    STEADY = "steady"
    """No longer flapping."""
    TOGETHER = "together"
    """Many events of one kind in one listing."""
    WHILE_BLIND = "while blind"
    """All that changed while nothing could be seen."""
    HELD = "held"
    """The platform's answer is too unlikely to be believed at once."""
    STALLED = "stalled"
    RESUMED = "resumed"
    """The platform's heartbeats stand still, or move again."""


class EventState(NamedTuple):
    """An environment as it was when something happened to it."""

    environment: Environment
    """Its row; that of a loss is the one before it, for a row without a connection has no pod any more."""
    verdict: Verdict
    """What it came to."""
    is_flapping: bool = False
    clock_suspect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that changed."""

    kind: Kind
    at: ServerMs
    """When the listing that proved it was asked for."""
    profile: Clean = NO_PROFILE
    """Under which profile it was seen; empty where only one is watched."""
    id: Clean | None = None
    """The environment's id; None where the event is about the fleet."""
    name: Clean | None = None
    field: str | None = None
    """The field that changed, for `changed`."""
    before: Clean | None = None
    after: Clean | None = None
    """Values before and after; a presence for the kinds that speak of one."""
    reason: Clean | None = None
    lasted: timedelta | None = None
    """How long the state before had lasted, as far as is known."""
    of: Kind | None = None
    """What happened together, for `merge_streams`."""
    members: tuple[Event, ...] = ()
    """The events that this one stands for."""
    since: ServerMs | None = None
    """When seeing ended, for `while blind`."""
    then: EventState | None = dataclasses.field(default=None, compare=False, repr=False)
    """The environment as it was; None where the event is about the fleet."""


def flatten(events: Iterable[Event]) -> list[Event]:
    """Return the events without groups: each group replaced by what it stands for."""
    return [leaf for event in events for leaf in (flatten(event.members) if event.members else [event])]
