"""Events: one value for each change of an environment or of the platform.

How they are found and shown is decided elsewhere. The age of a heartbeat is never an event.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from envwatch.fleet.presence import Verdict
    from envwatch.model.clock import ServerMs
    from envwatch.model.environment import Environment

NO_PROFILE: Final = EMPTY
"""The profile where only one is polled."""
NOT_RUNNING: Final = clean("envwatch did not run")
"""The reason of a `while blind` group that compares two runs."""


class Kind(StrEnum):
    """The kinds of events."""

    APPEARED = "appeared"
    ONLINE = "online"
    OFFLINE = "offline"
    RECONNECTED = "reconnected"
    """A new connection, without having been seen offline."""
    RESTARTED = "restarted"
    """The same, with another process or version of the listener."""
    GONE = "gone"
    MISSING = "missing"
    """Expected, and gone for longer than `limits.MISSING_AFTER`; or expected, and found never to have been listed."""
    RETURNED = "returned"
    """Listed again after it was gone."""
    MODE = "mode"
    VERSION = "version"
    BRANCH = "branch"
    RENAMED = "renamed"
    CHANGED = "changed"
    """Another field: directory, node version, OS, pod, user."""
    FLAPPING = "flapping"
    STEADY = "steady"
    """No longer flapping."""
    TOGETHER = "together"
    """Many events of one kind in one listing."""
    WHILE_BLIND = "while blind"
    """Everything that changed while envwatch was blind, asleep or did not run (`NOT_RUNNING`)."""
    HELD = "held"
    RELEASED = "hold ended"
    """The platform's answer is too unlikely to be believed at once, or no longer is."""
    STALLED = "stalled"
    RESUMED = "resumed"
    """The platform's heartbeats stand still, or move again."""
    BLIND = "blind"
    VISIBLE = "visible again"
    """The data is too old to be true, or recent again."""
    FAILING = "polls fail"
    REACHED = "polls succeed"
    """Two polls in a row have failed, or one succeeds after them."""
    KEY_REFUSED = "key refused"
    KEY_ACCEPTED = "key accepted"
    SLEPT = "slept"
    """This machine slept, or the process was stopped, from `since` to `at`."""
    NOTICE = "notice"
    """A message about envwatch itself, in `reason`."""


class EventState(NamedTuple):
    """An environment at the time of an event."""

    environment: Environment
    """Its row; for a loss the row before it, as a row without a connection has no pod."""
    verdict: Verdict
    is_flapping: bool = False
    clock_suspect: bool = False
    left_pod_id: SafeText | None = None
    """See `TrackedEnvironment`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change."""

    kind: Kind
    at: ServerMs
    """When the listing that proved it was asked for."""
    profile: SafeText = NO_PROFILE
    """Empty where only one is polled."""
    id: SafeText | None = None
    """The environment's id; None if the event is about the fleet."""
    name: SafeText | None = None
    field: str | None = None
    """The field that changed, for `changed`."""
    before: SafeText | None = None
    after: SafeText | None = None
    """Values before and after; a presence for the kinds that speak of one."""
    reason: SafeText | None = None
    lasted: timedelta | None = None
    """How long the state before had lasted, if known."""
    of: Kind | None = None
    """The kind of the members, for `binding_scopes`."""
    members: tuple[Event, ...] = ()
    """The events of a group."""
    since: ServerMs | None = None
    """When the period began that this event begins, ends or covers, by the newest data before it."""
    incident: SafeText | None = None
    """The id of the incident that a loss belongs to, which opens if the loss holds; of a return, the one it leaves."""
    then: EventState | None = dataclasses.field(default=None, compare=False, repr=False)
    """None if the event is about the fleet."""


def flatten(events: Iterable[Event]) -> list[Event]:
    """Return the events with each group replaced by its members."""
    return [leaf for event in events for leaf in (flatten(event.members) if event.members else [event])]


def leaves(events: Iterable[Event], group: Event | None = None) -> Iterator[tuple[Event, Event | None]]:
    """Yield the events without members, each with the outermost group around it."""
    for event in events:
        if event.members:
            yield from leaves(event.members, group or event)
        else:
            yield event, group
