"""The environments after a listing: listed, absent, and expected but missing.

An expected environment that was never listed is a row with only a name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet import tracking
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.presence import GONE, MISSING, NEVER_LISTED, Presence
from envwatch.fleet.replacement import keeps_identity
from envwatch.fleet.tracking import Environments, ListingContext, TrackedEnvironment, turn
from envwatch.model import limits
from envwatch.model.environment import Environment
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from envwatch.fleet.anomalies import Acceptance
    from envwatch.model.clock import ServerMs, WallMs

GONE_KEPT_MS: Final = limits.GONE_KEPT / MS


class EarlierRows(NamedTuple):
    """Rows of an earlier run, each until a listing of this run has the row or proves the row gone."""

    looked_at: WallMs
    """Request of the earlier run's newest believed listing."""
    rows: Environments


def next_environments(
    old: Environments,
    rows: Iterable[tuple[Environment, ServerMs]],
    at: ServerMs,
    listing: ListingContext,
    acceptance: Acceptance,
) -> tuple[Environments, list[Event], bool]:
    """Return the environments after a listing, the events, and whether a row's `firstSeenAt` or device changed.

    The first listing gives no events, nor does a row's first listing after an earlier run.
    """
    environments: dict[SafeText, TrackedEnvironment] = {}
    events: list[Event] = []
    has_moved_identity = False
    for environment, row_at in rows:
        id_ = environment.id
        if id_ in environments:
            continue
        before = old.get(id_)
        if before is not None and id_ in listing.unseen:
            environments[id_] = tracking.resumed(before, environment, row_at, listing)
            continue
        tracked = tracking.observed(before, environment, row_at, listing)
        environments[id_] = tracked
        if tracked is not before and listing.number > 1:
            events += tracking.events_between(before, tracked, row_at)
            if before is not None and not before.presence.is_absent:
                has_moved_identity |= not keeps_identity(before.environment, tracked.environment)
    for id_, before in old.items():
        if id_ in environments:
            continue
        tracked = _not_listed(before, at, listing, acceptance)
        is_kept = id_ in listing.kept or at - (tracked.since_at or at) < GONE_KEPT_MS
        if tracked.presence is not Presence.GONE or is_kept:
            environments[id_] = tracked
            if tracked is not before and id_ not in listing.unseen:
                events += tracking.events_between(before, tracked, at)
    return environments, events, has_moved_identity


def _not_listed(
    before: TrackedEnvironment, at: ServerMs, listing: ListingContext, acceptance: Acceptance
) -> TrackedEnvironment:
    id_ = before.environment.id
    if id_ in listing.unreadable:
        return tracking.unread(before)
    is_believed = id_ in acceptance.believed_absences
    if acceptance.quarantine is not None and not is_believed:
        return tracking.missed_while_quarantined(before, listing)
    quarantined = acceptance.listings_quarantined if is_believed else 0
    return tracking.marked_absent(before, at, listing, quarantined=quarantined)


def are_of_one_account(one: Iterable[Environment], other: Iterable[Environment]) -> bool:
    """Whether two listings can be of the same account: both name the same organization, or a listing names none."""
    old, new = ({environment.organization_id for environment in rows} - {EMPTY} for rows in (one, other))
    return not old or not new or not old.isdisjoint(new)


def remaining_rows(
    earlier: EarlierRows | None, environments: Environments, listing: ListingContext, listed: Container[SafeText]
) -> EarlierRows | None:
    """Return the rows of an earlier run about which the listings of this run prove nothing yet."""
    if earlier is None:
        return None
    rows: dict[SafeText, TrackedEnvironment] = {}
    for id_, known in earlier.rows.items():
        tracked = environments.get(id_)
        is_settled = tracked is None or (id_ in listed and not tracked.has_impossible_time)
        if tracked is not None and not is_settled and not tracked.presence.is_absent:
            rows[id_] = tracked if id_ in listing.unseen and id_ not in listed else known
    return earlier._replace(rows=rows) if rows else None


def missing_id(expected: SafeText) -> SafeText:
    """Return a row id for an expected environment that was never listed."""
    return composed(f"expected {expected}")  # no id of the API has a space


def with_inventory(
    expect: Iterable[SafeText], environments: Environments, listing: ListingContext, at: ServerMs, *, is_proof: bool
) -> Environments:
    """Return the environments after a believed listing, with missing environments.

    The first listing is a silent baseline. Unless the listing proves absences (`is_proof`), no further environment
    becomes missing.
    """
    expected = tuple(dict.fromkeys(expect))
    if not expected:
        return environments
    following = dict(environments)
    missing = _missing(environments.values(), expected)
    for id_, tracked in environments.items():
        if tracked.presence is not Presence.MISSING or id_ in missing:
            continue
        if tracked.verdict == NEVER_LISTED:
            del following[id_]
        else:
            following[id_] = replace(tracked, verdict=GONE)
    for id_, name in missing.items() if is_proof else ():
        known = environments.get(id_)
        if known is None:
            following[id_] = TrackedEnvironment(
                environment=Environment.unlisted(id_, name),
                verdict=NEVER_LISTED,
                profile=listing.profile,
                since_at=at,
                last_change=None if listing.number == 1 else turn(NEVER_LISTED, at),
            )
        elif known.verdict == GONE and at - known.lost_at >= limits.MISSING_AFTER / MS:
            following[id_] = replace(known, verdict=MISSING, replaced_by=None, replaced_by_name=None)
    return following


def missing_events(before: Environments, after: Environments, at: ServerMs) -> Iterator[Event]:
    """Yield an event for each newly missing environment."""
    for id_, tracked in after.items():
        was = before.get(id_)
        if tracked.presence is not Presence.MISSING or (was is not None and was.presence is Presence.MISSING):
            continue
        old, new = None if was is None else clean(was.presence), clean(tracked.presence)
        yield tracked.event(Kind.MISSING, at, before=old, after=new, reason=clean(tracked.verdict.reason))


def _missing(environments: Iterable[TrackedEnvironment], expected: Iterable[SafeText]) -> Mapping[SafeText, SafeText]:
    """Return the names of missing environments by row id; a gone row keeps the id."""
    present: set[SafeText] = set()
    gone: dict[SafeText, TrackedEnvironment] = {}
    for tracked in environments:
        names = (tracked.environment.name, tracked.environment.device_id)
        if not tracked.presence.is_absent:
            present.update(names)
        elif tracked.verdict != NEVER_LISTED:
            gone |= {name: tracked for name in names if name not in gone or gone[name].lost_at < tracked.lost_at}
    wanted = (name for name in expected if name not in present)
    return {gone[name].environment.id if name in gone else missing_id(name): name for name in wanted}
