"""What differs between two sightings of one environment.

Pure: two values in, changes out. Knows no verdicts (`presence`) and no history (`fleet`).
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.events import Kind
from envwatch.model import limits
from envwatch.model.modes import mode_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envwatch.model.environment import Environment
    from envwatch.model.text import Clean


_SAME_MS = limits.SAME_CONNECTION_WITHIN.total_seconds() * 1000


class Change(NamedTuple):
    """One field that differs."""

    kind: Kind
    field: str
    before: Clean | None
    after: Clean | None


_IN_A_GLANCE = attrgetter("name", "mode", "user_id", "pod_id", "metadata")
"""All of a row that these fields are read from: in most rows it has not changed."""

_FIELDS: tuple[tuple[Kind, str, Callable[[Environment], Clean | None]], ...] = (
    (Kind.RENAMED, "name", attrgetter("name")),
    (Kind.MODE, "mode", lambda environment: mode_of(environment.mode)),
    (Kind.CHANGED, "user", attrgetter("user_id")),
    (Kind.VERSION, "version", attrgetter("version")),
    (Kind.BRANCH, "branch", attrgetter("branch")),
    (Kind.CHANGED, "directory", attrgetter("working_directory")),
    (Kind.CHANGED, "node", attrgetter("node_version")),
    (Kind.CHANGED, "os", attrgetter("os")),
)

_WHILE_ONLINE = (Kind.CHANGED, "pod", attrgetter("pod_id"))
"""Null while offline, so only a change from one value to another says anything."""


def changes(before: Environment, after: Environment) -> Iterator[Change]:
    """Yield the fields that a person would call changed, in a fixed order.

    Instants, connections and the platform's own bookkeeping are left out: they change all the time, and what they mean
    is the verdict's business.
    """
    if _IN_A_GLANCE(before) == _IN_A_GLANCE(after):
        return
    for kind, field, value_of in _FIELDS:
        was, now = value_of(before), value_of(after)
        if was != now:
            yield Change(kind, field, was, now)
    kind, field, value_of = _WHILE_ONLINE
    was, now = value_of(before), value_of(after)
    if was and now and was != now:
        yield Change(kind, field, was, now)


def is_new_connection(before: Environment, after: Environment) -> bool:
    """Whether the live link was replaced: by its id, or by the instant at which it was made, to the second."""
    if not before.connection_id or not after.connection_id:
        return False
    if before.connection_id != after.connection_id:
        return True
    if before.connected_at is None or after.connected_at is None:
        return False
    return abs(after.connected_at - before.connected_at) >= _SAME_MS


def is_new_process(before: Environment, after: Environment) -> bool:
    """Whether another listener stands behind the row: another instance, or another version of it."""
    pairs = (
        (before.listener_instance_id, after.listener_instance_id),
        (before.version, after.version),
        (before.node_version, after.node_version),
    )
    return any(was and now and was != now for was, now in pairs)
