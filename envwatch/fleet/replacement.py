"""Replacement of an old row by a new row of the same machine; twins.

A renamed computer connects as a new row with the same device and surface; the server drops the old row later. Twins are
rows of the same device and surface whose heartbeats advanced side by side. Source: `letta-environments.md`, "Identity".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import UNTIMED, Presence
from envwatch.fleet.tracking import SAME_INSTANT_MS, ChangeTag, RecentChange
from envwatch.model import limits
from envwatch.model.environment import SANDBOX_DEVICE, Environment
from envwatch.model.text import SafeText, composed
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from envwatch.fleet.tracking import Environments, TrackedEnvironment
    from envwatch.model.clock import ServerMs


_TOLERANCE_MS: Final = limits.REPLACEMENT_TOLERANCE / MS
_SIGN_OF_LIFE_MS: Final = limits.SIGN_OF_LIFE / MS
_INSTANCE: Final = re.compile(r"(server|listen)-[0-9a-fA-F]{16}")

_device_of: Callable[[TrackedEnvironment], SafeText] = attrgetter("environment.device_id")


Place: TypeAlias = tuple[SafeText, SafeText, str]
"""Organization, device and surface (`server` or `listen`)."""


def place_of(environment: Environment) -> Place | None:
    """Return a row's place; None for rows without replacements, such as sandboxes."""
    surface = _surface_of(environment.listener_instance_id or "")
    device_id = environment.device_id
    if surface is None or not device_id or device_id.startswith(SANDBOX_DEVICE):
        return None
    return environment.organization_id, device_id, surface


@lru_cache(maxsize=4_096)
def _surface_of(instance_id: str) -> str | None:
    found = _INSTANCE.fullmatch(instance_id)
    return found.group(1) if found else None


def keeps_identity(before: Environment, after: Environment) -> bool:
    """Whether a row kept device, organization and `firstSeenAt`, which two replicas may round differently."""
    return (
        abs(before.first_seen_at - after.first_seen_at) < SAME_INSTANT_MS
        and before.device_id == after.device_id
        and before.organization_id == after.organization_id
    )


class RuleInputs(NamedTuple):
    """Values shared by all rows of a listing."""

    at: ServerMs
    latest: ServerMs
    is_off: bool = False
    """Whether the rule is off, because the server changed a row's identity."""
    is_first: bool = False
    """Whether the listing is the run's first: a replacement is then as old as the new row."""


def with_replacements(environments: Environments, listed: Collection[SafeText], inputs: RuleInputs) -> Environments:
    """Return the environments with replaced rows marked, or `environments` if unchanged."""
    rows_on = Counter(map(_device_of, environments.values()))
    if len(rows_on) == len(environments) and not inputs.is_off:
        return environments
    groups: dict[Place | None, list[TrackedEnvironment]] = {}
    for tracked in environments.values():
        if rows_on[tracked.environment.device_id] > 1 or tracked.replaced_by is not None:
            groups.setdefault(place_of(tracked.environment), []).append(tracked)
    changed = {
        after.environment.id: after
        for place, group in groups.items()
        if len(group) > 1 or group[0].replaced_by is not None or group[0].twins or group[0].offline_beside
        for before, after in zip(group, _judged(place, group, listed, inputs), strict=True)
        if after is not before
    }
    return {**environments, **changed} if changed else environments


def renamed_events(before: Environments, after: Environments, at: ServerMs) -> Iterator[Event]:
    """Yield an event for each newly replaced row."""
    for id_, tracked in after.items():
        if tracked.replaced_by is None or ((was := before.get(id_)) is not None and was.replaced_by is not None):
            continue
        before_name, reason = tracked.environment.label, tracked.reason
        yield tracked.event(Kind.RENAMED, at, before=before_name, after=tracked.replaced_by_name, reason=reason)


def is_replacement(event: Event) -> bool:
    """Whether the event is a replacement, not a new name of the same row."""
    return event.kind is Kind.RENAMED and event.field is None


def with_memory_of(environments: Environments, before: Environments) -> Environments:
    """Return the environments with the last run's memory of twins and siblings."""
    changed = {}
    for id_, was in before.items():
        if not (was.twins or was.offline_beside) or was.verdict.is_absent:
            continue
        tracked = environments.get(id_)
        if tracked is None or not keeps_identity(was.environment, tracked.environment):
            continue
        twins, beside = tracked.twins | was.twins, tracked.offline_beside | was.offline_beside
        listed = environments.keys()
        changed[id_] = replace(tracked, twins=twins & listed, offline_beside=beside & listed)
    return {**environments, **changed} if changed else environments


def _judged(
    place: Place | None, group: Sequence[TrackedEnvironment], listed: Collection[SafeText], inputs: RuleInputs
) -> Iterable[TrackedEnvironment]:
    if place is None or len(group) > limits.REPLACEMENT_ROWS:
        return [_marked(_remembering(tracked, _NO_IDS, _NO_IDS), None, inputs) for tracked in group]
    others = len(group) - 1
    if all(each.verdict.is_up and len(each.twins) == others and each.replaced_by is None for each in group):
        return group
    present = {tracked.environment.id: tracked for tracked in group if not tracked.verdict.is_absent}
    here = [tracked for id_, tracked in present.items() if id_ in listed]
    up = {tracked.environment.id: tracked for tracked in here if tracked.verdict.is_up}
    down = frozenset(tracked.environment.id for tracked in here if _is_down(tracked))
    remembering = [_with_memory(tracked, present.keys(), up, down) for tracked in group]
    replacing = (
        {} if inputs.is_off else _replacing([each for each in remembering if not each.verdict.is_absent], inputs)
    )
    if not inputs.is_off:
        replacing = {**_replacing_gone(remembering, replacing, inputs), **replacing}
    after = []
    for tracked in remembering:
        new = replacing.get(tracked.environment.id)
        if tracked.presence is Presence.GONE and tracked.replaced_by is not None and not inputs.is_off:
            new = present.get(tracked.replaced_by)  # the server dropped the old row: no loss
        after.append(_marked(tracked, new, inputs))
    return after


_NO_IDS: Final[frozenset[SafeText]] = frozenset()


def _with_memory(
    tracked: TrackedEnvironment, present: Collection[SafeText], up: Environments, down: frozenset[SafeText]
) -> TrackedEnvironment:
    id_ = tracked.environment.id
    if id_ not in present:
        return _remembering(tracked, tracked.twins, _NO_IDS)  # a twin that is gone stays a loss
    twins, beside = tracked.twins, tracked.offline_beside
    twins, beside = twins.intersection(present), beside.intersection(present)
    if id_ in up:
        new = (other for other in up.keys() - twins if other != id_)
        twins, beside = twins.union(other for other in new if _beat_together(tracked, up[other])), beside | down
    return _remembering(tracked, twins, beside)


def _beat_together(one: TrackedEnvironment, other: TrackedEnvironment) -> bool:
    """Whether the heartbeats of two online rows advanced since both connected.

    Being online proves no twin, because a silent row stays online until the heartbeat expires.
    """
    rows = (one.environment, other.environment)
    together_from = max(row.first_seen_at if row.connected_at is None else row.connected_at for row in rows)
    beats = [row.last_heartbeat_at for row in rows]
    return all(beat_at is not None and beat_at - together_from >= _SIGN_OF_LIFE_MS for beat_at in beats)


def _remembering(
    tracked: TrackedEnvironment, twins: frozenset[SafeText], beside: frozenset[SafeText]
) -> TrackedEnvironment:
    if twins == tracked.twins and beside == tracked.offline_beside:
        return tracked
    return replace(tracked, twins=twins, offline_beside=beside)


def _marked(tracked: TrackedEnvironment, new: TrackedEnvironment | None, inputs: RuleInputs) -> TrackedEnvironment:
    if new is None:
        if tracked.replaced_by is None:
            return tracked
        change = tracked.last_change
        if tracked.presence is Presence.OFFLINE:
            change = RecentChange(ChangeTag.NEW, inputs.at)  # the row counts as a loss again
        return replace(tracked, replaced_by=None, replaced_by_name=None, last_change=change)
    row = new.environment
    if (tracked.replaced_by, tracked.replaced_by_name) == (row.id, row.label):
        return tracked
    change = tracked.last_change
    if tracked.replaced_by is None:
        change = RecentChange(ChangeTag.MOVED, min(row.first_seen_at, inputs.at) if inputs.is_first else inputs.at)
    return replace(tracked, replaced_by=row.id, replaced_by_name=row.label, last_change=change)


def _is_down(tracked: TrackedEnvironment) -> bool:
    return tracked.presence is Presence.OFFLINE and tracked.verdict != UNTIMED and not tracked.has_impossible_time


def _last_sign(tracked: TrackedEnvironment) -> float:
    return tracked.environment.last_seen_alive_at


def _replacing(rows: Sequence[TrackedEnvironment], inputs: RuleInputs) -> Environments:
    """Return the replacing rows by the replaced row's id.

    A row replaces only the row with the newest sign of life. Of several new rows, the first seen counts.
    """
    old = [tracked for tracked in rows if obstacle_of(tracked, inputs.latest) is None]
    if not old:
        return {}
    old.sort(key=lambda tracked: (-_last_sign(tracked), tracked.environment.id))
    negative = [-_last_sign(tracked) for tracked in old]
    found: dict[SafeText, TrackedEnvironment] = {}
    for new in sorted(rows, key=lambda tracked: (tracked.environment.first_seen_at, tracked.environment.id)):
        first = len(old)
        if limits.EARLIEST_MS <= new.environment.first_seen_at <= inputs.latest:
            first = bisect_left(negative, -(new.environment.first_seen_at + _TOLERANCE_MS))
        back = next((place for place, each in enumerate(old[:first]) if came_back_after(new, each)), None)
        candidates = old[first:] if back is None else [old[back]]
        if (one := next((each for each in candidates if each is not new), None)) is not None:
            found.setdefault(one.environment.id, new)
    return _without_circles(found)


def _replacing_gone(
    rows: Sequence[TrackedEnvironment], replacing: Environments, inputs: RuleInputs
) -> dict[SafeText, TrackedEnvironment]:
    """Return the replacing rows of gone rows, whose old names the server dropped at once.

    A row that replaces a listed row replaces no gone row.
    """
    taken = {new.environment.id for new in replacing.values()} | {each.replaced_by for each in rows}
    gone = [
        each
        for each in rows
        if each.presence is Presence.GONE
        and each.replaced_by is None
        and not each.twins
        and not each.has_impossible_time
        and limits.EARLIEST_MS <= _last_sign(each) <= inputs.latest
    ]
    gone.sort(key=lambda tracked: (-_last_sign(tracked), tracked.environment.id))
    found: dict[SafeText, TrackedEnvironment] = {}
    for new in sorted(rows, key=lambda tracked: (tracked.environment.first_seen_at, tracked.environment.id)):
        first_seen_at = new.environment.first_seen_at
        if new.verdict.is_absent or new.environment.id in taken or first_seen_at > inputs.latest:
            continue
        old = next((each for each in gone if first_seen_at + _TOLERANCE_MS >= _last_sign(each)), None)
        if old is not None:
            found.setdefault(old.environment.id, new)
    return found


def came_back_after(new: TrackedEnvironment, old: TrackedEnvironment) -> bool:
    """Whether `new` took the place of `old` again, because a computer got the old name back.

    `new` was offline while `old` was online, and never a twin, so an online `new` came back later. An offline `new`
    must have been online while `old` was offline.
    """
    id_, other = new.environment.id, old.environment.id
    if id_ not in old.offline_beside or id_ in old.twins or new is old:
        return False
    return new.verdict.is_up or (other in new.offline_beside and _last_sign(new) > _last_sign(old))


def _without_circles(found: Environments) -> Environments:
    """Return the replacements without circles: two rows first seen within seconds may both look newer.

    In a circle, the row with the newest sign of life is lost.
    """
    kept = dict(found)
    for start in found:
        trail: dict[SafeText, TrackedEnvironment] = {}
        id_ = start
        while id_ in kept and id_ not in trail:
            trail[id_] = kept[id_]
            id_ = trail[id_].environment.id
        if id_ == start and trail:
            newest = max(trail.values(), key=lambda tracked: (_last_sign(tracked), tracked.environment.id))
            del kept[newest.environment.id]
    return kept


def siblings(tracked: TrackedEnvironment, rows: Iterable[TrackedEnvironment]) -> Sequence[TrackedEnvironment]:
    """Return the further listed rows of the same place."""
    place = place_of(tracked.environment)
    if place is None:
        return ()
    return [
        each
        for each in rows
        if each.environment.id != tracked.environment.id
        and not each.verdict.is_absent
        and place_of(each.environment) == place
    ]


class Obstacle(StrEnum):
    """Reasons against a replacement."""

    UP = "a machine that is on is never replaced"
    UNTIMED = "the last sign of life has an impossible time"
    OTHER_SURFACE = "only a listener of `letta server` can be replaced, not an app or a sandbox"
    TWIN = "a twin: both sent heartbeats side by side, so if one goes down, that is a loss"


def obstacle_of(tracked: TrackedEnvironment, latest: float = inf) -> Obstacle | None:
    """Return the obstacle to a row's replacement, if any."""
    if place_of(tracked.environment) is None:
        return Obstacle.OTHER_SURFACE
    if tracked.presence is not Presence.OFFLINE:
        return Obstacle.UP
    if not _is_down(tracked) or not limits.EARLIEST_MS <= _last_sign(tracked) <= latest:
        return Obstacle.UNTIMED
    return Obstacle.TWIN if tracked.twins else None


def named_by_device(events: list[Event], environments: Environments) -> list[Event]:
    """Return the events; a newcomer's event names a listed row of the same device."""
    newcomers = {event.id for event in events if event.kind is Kind.APPEARED}
    if not newcomers:
        return events
    on_device: dict[SafeText, list[TrackedEnvironment]] = {}
    replaced: dict[SafeText, SafeText] = {}
    for id_, tracked in environments.items():
        if tracked.replaced_by is not None:
            replaced[tracked.replaced_by] = tracked.environment.label
        if id_ not in newcomers:
            on_device.setdefault(tracked.environment.device_id, []).append(tracked)

    def linked(event: Event) -> Event:
        if event.kind is not Kind.APPEARED or event.id is None:
            return event
        others = on_device.get(environments[event.id].environment.device_id, [])
        if not others:
            return event
        if (old := replaced.get(event.id)) is not None:
            return replace(event, reason=composed(f"replaces {old}, same device"))
        # An absent or silent row may be the same machine under an old id.
        twins = environments[event.id].twins
        twin = next((tracked for tracked in others if tracked.environment.id in twins), None)
        relation = "beside" if twin is None else "twin of"
        return replace(event, reason=composed(f"{relation} {(twin or others[-1]).environment.label}, same device"))

    return [linked(event) for event in events]
