"""What differs between two rows of one environment. Pure; verdicts and history play no part."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Kind
from envwatch.model import limits
from envwatch.model.environment import LABELS
from envwatch.model.modes import mode_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


_SAME_CONNECTION_MS = limits.SAME_CONNECTION_WITHIN.total_seconds() * 1000


class FieldChange(NamedTuple):
    """One field that differs."""

    kind: Kind
    field: str
    before: SafeText | None
    after: SafeText | None


_SOURCES = attrgetter("name", "mode", "user_id", "pod_id", "metadata")
"""Everything that the fields below are read from, to compare at once: in most rows it has not changed."""

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
"""The kinds of events of the attributes whose change is an event."""


def changes(before: Environment, after: Environment) -> Iterator[FieldChange]:
    """Yield the fields whose change is an event, in a fixed order.

    Instants and connections are left out: they change all the time, and verdicts are derived from them.
    """
    if _SOURCES(before) == _SOURCES(after):
        return
    for name, kind in EVENT_KINDS.items():
        was, now = value_of(before, name), value_of(after, name)
        if was != now:
            yield FieldChange(kind, LABELS[name], was, now)
    # The pod is null while offline, so only a change from one pod to another is a change.
    was, now = before.pod_id, after.pod_id
    if was and now and was != now:
        yield FieldChange(Kind.CHANGED, LABELS["pod_id"], was, now)


def value_of(environment: Environment, name: str) -> SafeText | None:
    """Return the text of an attribute as events compare it: a mode under its present name."""
    return mode_of(environment.mode) if name == "mode" else getattr(environment, name)


def is_new_connection(before: Environment, after: Environment) -> bool:
    """Whether the connection was replaced: by its id, or by its `connectedAt` to the second."""
    if not before.connection_id or not after.connection_id:
        return False
    if before.connection_id != after.connection_id:
        return True
    if before.connected_at is None or after.connected_at is None:
        return False
    return abs(after.connected_at - before.connected_at) >= _SAME_CONNECTION_MS


def is_new_process(before: Environment, after: Environment) -> bool:
    """Whether the row has another listener: another instance, or another version of it."""
    pairs = (
        (before.listener_instance_id, after.listener_instance_id),
        (before.version, after.version),
        (before.node_version, after.node_version),
    )
    return any(was and now and was != now for was, now in pairs)
