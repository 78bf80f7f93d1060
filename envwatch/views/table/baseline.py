"""Differences between the current environments and a marked moment, except instants and ages."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import (
    EVENT_KINDS,
    EnvironmentKey,
    TrackedEnvironment,
    changes,
    event_presence,
    is_new_connection,
    is_new_process,
    value_of,
)
from envwatch.model.environment import (
    API_FIELDS,
    LABELS,
    METADATA_FIELDS,
    TEXT_NAMES,
    UNRESTRICTED,
    ValueKind,
    update_text,
)
from envwatch.model.text import SafeText, composed, shortened
from envwatch.model.times import NOTHING
from envwatch.query.fields import META
from envwatch.query.presentation import Presentation, scalar_text
from envwatch.views.state_style import json_text
from envwatch.views.table.columns import COLUMNS, FIXED, LEFT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.fleet.profile_state import Fleet
    from envwatch.model.environment import Environment


@dataclass(frozen=True, slots=True)
class Baseline:
    """The environments at a marked moment."""

    marked_at: float
    """This machine's clock, ms."""
    environments: Mapping[EnvironmentKey, TrackedEnvironment]
    unlisted: frozenset[SafeText] = frozenset()
    """Profiles without a listing at the moment, excluded from comparison."""

    @classmethod
    def from_environments(
        cls, environments: Iterable[TrackedEnvironment], marked_at: float, unlisted: Iterable[SafeText] = ()
    ) -> Baseline:
        """Return a moment's baseline."""
        by_key = MappingProxyType({tracked.key: tracked for tracked in environments})
        return cls(marked_at, by_key, frozenset(unlisted))

    def differences(self, key: EnvironmentKey, after: TrackedEnvironment | None) -> tuple[Difference, ...]:
        """Return an environment's differences."""
        return () if key[0] in self.unlisted else differences(self.environments.get(key), after)

    def differing(
        self, environments: Iterable[TrackedEnvironment]
    ) -> list[tuple[TrackedEnvironment, tuple[Difference, ...]]]:
        """Return the differing environments in order, untracked environments last, with differences.

        `environments` must hold every tracked environment of the baseline's profiles.
        """
        present: set[EnvironmentKey] = set()
        differing = []
        for tracked in environments:
            key = tracked.key
            present.add(key)
            if self.environments.get(key) is not tracked and (found := self.differences(key, tracked)):
                differing.append((tracked, found))
        for key, before in self.environments.items():
            if key not in present and (found := self.differences(key, None)):
                differing.append((before, found))
        return differing

    def columns(self, width: int, fleet: Fleet) -> tuple[tuple[Presentation, int], ...]:
        """Return the columns and widths of a comparing table of `width` cells."""

        def text(tracked: TrackedEnvironment) -> SafeText:
            return difference_text(self.differences(tracked.key, fleet.tracked(tracked.key)))

        *left, name = (COLUMNS[id_] for id_ in FIXED)
        room = width - LEFT - 1
        name_width = max(min(room // 3, 32), 1)
        changes = Presentation(
            "changes",
            "what differs",
            title="SINCE THE BASELINE",
            width=max(room - name_width, 1),
            text=text,
            keep="start",
        )
        return (*((column, column.width) for column in left), (name, name_width), (changes, changes.width))


class Difference(NamedTuple):
    """A field's values before and after."""

    field: str
    before: SafeText | None
    after: SafeText | None
    """None without a value, or for the `state` of an untracked environment."""
    style: str = ""


STATE: Final = "state"
_MAX_CELLS: Final = 200
_MAX_METADATA: Final = 60
"""Limit of metadata differences, because metadata may be replaced as a whole."""

_COMPARED = attrgetter(
    *(each.name for each in API_FIELDS.values() if each.kind is not ValueKind.INSTANT), "connected_at"
)
"""Compared first: a single comparison settles nearly all rows."""

_SCALARS: Final = {each.name for each in API_FIELDS.values() if each.kind in {ValueKind.NUMBER, ValueKind.FLAG}}
_HAVE_EVENTS: Final = frozenset({*EVENT_KINDS, "pod_id", "connection_id"})
_EXTRA_FIELDS: Final = tuple(
    name
    for name in dict.fromkeys(["api_key_owner", "organization_id", "device_id", *LABELS])
    if name in TEXT_NAMES | _SCALARS and name not in {*_HAVE_EVENTS, "id", "listener_instance_id"}
)
"""Texts, numbers and flags whose changes are no events."""


def differences(before: TrackedEnvironment | None, after: TrackedEnvironment | None) -> tuple[Difference, ...]:
    """Return an environment's differences in a fixed order, presence first.

    Late counts as online, as in events. None stands for an untracked environment.
    """
    if before is after:
        return ()
    state = _state_difference(before, after)
    if before is None or after is None:
        return state
    was, now = before.environment, after.environment
    if was is now or _COMPARED(was) == _COMPARED(now):
        return state
    return (*(state or _connection_difference(was, now)), *_field_differences(was, now))


def difference_text(differences: Iterable[Difference]) -> SafeText:
    """Return differences in one line: `state online → offline · mode standard → –`."""
    return composed(" · ".join(map(_text, differences)))


def _text(difference: Difference) -> str:
    field, before, after, _ = difference
    if field in _CONNECTION_FIELDS:
        return field
    if field == STATE and before is None:
        return f"new, {after}"
    if field == STATE and after in (None, Presence.GONE.value):
        return f"gone, was {before}"
    return f"{field} {NOTHING if before is None else before} → {NOTHING if after is None else after}"


def _state_difference(before: TrackedEnvironment | None, after: TrackedEnvironment | None) -> tuple[Difference, ...]:
    was, now = (None if tracked is None else event_presence(tracked) for tracked in (before, after))
    absent = (None, Presence.GONE.value)
    if was == now or (was in absent and now in absent):
        return ()
    return (Difference(STATE, was, now, now or Presence.GONE.value),)


_CONNECTION_FIELDS = ("reconnected", "restarted")


def _connection_difference(before: Environment, after: Environment) -> tuple[Difference, ...]:
    if not is_new_connection(before, after):
        return ()
    field = _CONNECTION_FIELDS[is_new_process(before, after)]
    return (Difference(field, before.connection_id, after.connection_id, Presence.ONLINE.value),)


def _field_differences(before: Environment, after: Environment) -> Iterator[Difference]:
    for _, field, was, now in changes(before, after):
        is_alarming = field == "mode" and now == UNRESTRICTED
        yield Difference(field, was, now, UNRESTRICTED if is_alarming else "")
    was, now = update_text(before), update_text(after)
    if was != now:
        yield Difference("update", was, now)
    for name in _EXTRA_FIELDS:
        was, now = scalar_text(value_of(before, name)), scalar_text(value_of(after, name))
        if was != now:
            yield Difference(LABELS[name], was, now)
    yield from _command_differences(before, after)
    pairs = ((_other_metadata(before), _other_metadata(after)), (before.unknown, after.unknown))
    metadata = chain.from_iterable(_json_differences(META[:-1], was, now) for was, now in pairs)
    yield from islice(metadata, _MAX_METADATA)


def _command_differences(before: Environment, after: Environment) -> Iterator[Difference]:
    was, now = (frozenset(filter(None, environment.supported_commands or ())) for environment in (before, after))
    if was != now:
        removed, added = (composed(", ".join(sorted(names))) or None for names in (was - now, now - was))
        yield Difference("commands", removed, added)


def _other_metadata(environment: Environment) -> dict[str, JsonValue]:
    metadata = environment.metadata or {}
    other = {key: value for key, value in metadata.items() if not isinstance(value, _NAMED_TYPES.get(key, ()))}
    if (update := environment.self_update) is not None:
        other["self_update"] = {key: value for key, value in update.items() if key not in _SUMMED_UP_UPDATE_KEYS}
    return other


_NAMED_TYPES = {key: each.kind for key, each in METADATA_FIELDS.items() if each.kind in {str, list}}
_SUMMED_UP_UPDATE_KEYS = frozenset({"supported", "writable"})


def _json_differences(path: str, before: JsonValue, after: JsonValue) -> Iterator[Difference]:
    if before == after:
        return
    was, now = ({} if value is None else value for value in (before, after))
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            yield from _json_differences(f"{path}.{key}", was.get(key), now.get(key))
    else:
        yield Difference(path, _value_text(before), _value_text(after))


def _value_text(value: JsonValue) -> SafeText | None:
    return None if value is None else shortened(json_text(value), _MAX_CELLS)
