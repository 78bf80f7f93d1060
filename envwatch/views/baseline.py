"""What differs from a marked moment: the environments as they were then, and what a person would ask about since.

Pure. Knows neither when a person marks nor how a difference looks. Instants and ages never differ: they always do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.diff import changes, is_new_connection, is_new_process
from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import event_presence
from envwatch.model.environment import KNOWN_METADATA, update_text
from envwatch.model.modes import UNRESTRICTED
from envwatch.model.text import Clean, shortened
from envwatch.model.times import NOTHING
from envwatch.query.fields import META
from envwatch.views.columns import COLUMNS, FIXED, MARK_WIDTH, Column
from envwatch.views.state_style import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.environment import Environment


@dataclass(frozen=True, slots=True)
class Baseline:
    """The environments as they were at a moment."""

    at: float
    """When it was marked: milliseconds since the epoch, this machine's clock."""
    environments: Mapping[EnvironmentKey, TrackedEnvironment]
    unlisted: frozenset[Clean] = frozenset()
    """Profiles of which nothing was known, so that nothing of theirs differs."""

    @classmethod
    def of(cls, environments: Iterable[TrackedEnvironment], at: float, unlisted: Iterable[Clean] = ()) -> Baseline:
        """Mark a moment."""
        return cls(at, MappingProxyType({tracked.key: tracked for tracked in environments}), frozenset(unlisted))

    def differences(self, key: EnvironmentKey, now: TrackedEnvironment | None) -> tuple[Difference, ...]:
        """Return what differs of an environment as it is now; None if it is no longer known."""
        return () if key[0] in self.unlisted else differences(self.environments.get(key), now)


class Difference(NamedTuple):
    """One thing that is not as it was."""

    field: str
    before: Clean | None
    after: Clean | None
    """None for no value; for `state`, None while the environment was not known."""
    style: str = ""
    """How it is drawn, by its name in the stylesheet."""


STATE: Final = "state"
"""The field of presence."""
_LONGEST: Final = 200
"""Cells of one value."""
_MOST: Final = 60
"""Differences told of one environment's metadata: it is open, and can be replaced as a whole."""

_IN_A_GLANCE = attrgetter(
    "name",
    "mode",
    "user_id",
    "pod_id",
    "api_key_owner",
    "organization_id",
    "device_id",
    "connection_id",
    "connected_at",
    "unknown",
    "metadata",
)
"""All of a row in which it can differ: most rows do not, and are done with at once."""

_OTHERS: tuple[tuple[str, Callable[[Environment], Clean | None]], ...] = (
    ("update", update_text),
    ("key owner", attrgetter("api_key_owner")),
    ("organization", attrgetter("organization_id")),
    ("device", attrgetter("device_id")),
)
"""What is no event, and yet a person's business."""


def differences(before: TrackedEnvironment | None, after: TrackedEnvironment | None) -> tuple[Difference, ...]:
    """Return what differs between an environment then and now, presence first, in a fixed order.

    Late counts as online, as in events. Swapped arguments give the same with every `before` and `after` swapped.

    Args:
        before: None if it was not known.
        after: None if it is no longer known.
    """
    if before is after:
        return ()
    state = _presence(before, after)
    if before is None or after is None:
        return state
    was, now = before.environment, after.environment
    if was is now or _IN_A_GLANCE(was) == _IN_A_GLANCE(now):
        return state
    return (*(state or _connection(was, now)), *_fields(was, now))


def differing(
    baseline: Baseline, environments: Iterable[TrackedEnvironment]
) -> list[tuple[TrackedEnvironment, tuple[Difference, ...]]]:
    """Return the environments that differ, each with what does.

    Args:
        baseline: the moment to compare with.
        environments: all that are known now, of every profile that the baseline has.

    Returns:
        In the order of the watches; then those no longer known, as they were.
    """
    then = baseline.environments
    known: set[EnvironmentKey] = set()
    found = []
    for tracked in environments:
        key = tracked.key
        known.add(key)
        before = then.get(key)
        if before is not tracked and (told := baseline.differences(key, tracked)):
            found.append((tracked, told))
    for key, before in then.items():
        if key not in known and (told := baseline.differences(key, None)):
            found.append((before, told))
    return found


def difference_text(differences: Iterable[Difference], nothing: Clean = NOTHING) -> Clean:
    """Return differences in one line: `state online → offline · mode standard → acceptEdits`.

    Args:
        differences: of one environment.
        nothing: what stands for no value.
    """
    return Clean(" · ".join(_phrase(difference, nothing) for difference in differences))


def comparing(width: int, baseline: Baseline, fleets: Fleets) -> tuple[tuple[Column, int], ...]:
    """Return the columns of a table that shows how rows differ from a baseline, each with its width.

    Args:
        width: cells of the table.
        baseline: the moment to compare with.
        fleets: what is known now.
    """

    def text(tracked: TrackedEnvironment, _: float) -> Clean:
        return difference_text(baseline.differences(tracked.key, fleets.tracked(tracked.key)))

    state, name = (COLUMNS[id_] for id_ in FIXED)
    room = width - (state.width + 1) - MARK_WIDTH - 2
    changes = Column(
        id="changes",
        title="SINCE THE BASELINE",
        width=0,
        from_width=0,
        about="what differs",
        text=text,
        rank=lambda tracked: text(tracked, 0.0),
    )
    of_name = max(min(room // 3, 32), 1)
    return ((state, state.width), (name, of_name), (changes, max(room - of_name, 1)))


def _phrase(difference: Difference, nothing: Clean) -> str:
    field, before, after, _ = difference
    if field in _LINKS:
        return field
    if field == STATE and before is None:
        return f"new, {after}"
    if field == STATE and after in (None, Presence.GONE.value):
        return f"gone, was {before}"
    return f"{field} {nothing if before is None else before} → {nothing if after is None else after}"


def _presence(before: TrackedEnvironment | None, after: TrackedEnvironment | None) -> tuple[Difference, ...]:
    was, now = (None if tracked is None else event_presence(tracked) for tracked in (before, after))
    absent = (None, Presence.GONE.value)
    if was == now or (was in absent and now in absent):
        return ()
    return (Difference(STATE, was, now, now or Presence.GONE.value),)


_LINKS = ("reconnected", "restarted")


def _connection(before: Environment, after: Environment) -> tuple[Difference, ...]:
    if not is_new_connection(before, after):
        return ()
    field = _LINKS[is_new_process(before, after)]
    return (Difference(field, before.connection_id, after.connection_id, Presence.ONLINE.value),)


def _fields(before: Environment, after: Environment) -> Iterator[Difference]:
    for change in changes(before, after):
        is_alarming = change.field == "mode" and change.after == UNRESTRICTED
        yield Difference(change.field, change.before, change.after, UNRESTRICTED if is_alarming else "")
    for field, value_of in _OTHERS:
        was, now = value_of(before), value_of(after)
        if was != now:
            yield Difference(field, was, now)
    yield from _commands(before, after)
    pairs = ((_unnamed(before), _unnamed(after)), (before.unknown, after.unknown))
    yield from islice(chain.from_iterable(_members(META[:-1], was, now) for was, now in pairs), _MOST)


def _commands(before: Environment, after: Environment) -> Iterator[Difference]:
    """Yield the commands that a listener takes no longer, and those that it takes now: the others say nothing."""
    was, now = (frozenset(filter(None, environment.supported_commands or ())) for environment in (before, after))
    if was != now:
        lost, won = (Clean(", ".join(sorted(names))) or None for names in (was - now, now - was))
        yield Difference("commands", lost, won)


def _unnamed(environment: Environment) -> dict[str, JsonValue]:
    """Return the metadata without what is compared by its name."""
    unnamed = {
        key: value for key, value in (environment.metadata or {}).items() if not isinstance(value, _NAMED.get(key, ()))
    }
    if (update := environment.self_update) is not None:
        unnamed["self_update"] = {key: value for key, value in update.items() if key not in _OF_UPDATE}
    return unnamed


_NAMED = {key: type_ for key, type_ in KNOWN_METADATA.items() if type_ is not dict}
_OF_UPDATE = frozenset({"supported", "writable"})
"""What `update_text` puts into a word."""


def _members(path: str, before: JsonValue, after: JsonValue) -> Iterator[Difference]:
    """Yield where two JSON values differ, by dotted names; null and an empty object are no value."""
    if before == after:
        return
    was, now = ({} if value is None else value for value in (before, after))
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from _members(f"{path}.{key}", was.get(key), now.get(key))
    else:
        yield Difference(path, _shown(before), _shown(after))


def _shown(value: JsonValue) -> Clean | None:
    return None if value is None else shortened(json_text(value), _LONGEST)
