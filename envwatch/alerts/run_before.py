"""The last run's knowledge for a new run of a profile and host.

A first listing tells neither the age of a state nor the gone rows: a restart would hide a recent loss. Verdicts are not
taken over. A state continues if the connection (up) or the last sign of life (down) is the same; otherwise the row's
instants date the change.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from envwatch.alerts.alert_policy import word_for
from envwatch.alerts.losses import ACK_ENDED
from envwatch.fleet import tracking
from envwatch.fleet.events import Kind
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck, latest_possible
from envwatch.fleet.presence import DISCONNECTED, GONE, NEVER_LISTED, ONLINE, Presence, Reason
from envwatch.fleet.profile_state import GONE_KEPT_MS
from envwatch.fleet.replacement import RuleInputs, keeps_identity, with_memory_of, with_replacements
from envwatch.fleet.tracking import CHURN_MS, SAME_INSTANT_MS, ChangeTag, RecentChange, TrackedEnvironment
from envwatch.fleet.watched_time import Span
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.environment import Environment
from envwatch.model.text import EMPTY, clean, composed
from envwatch.model.times import MS, long_age, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.alerts.alert_policy import Words
    from envwatch.alerts.alert_state import AlertState
    from envwatch.fleet.events import Event
    from envwatch.fleet.presence import Verdict
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import Environments
    from envwatch.model.text import SafeText


def unproven_ids(profile_state: ProfileState) -> frozenset[SafeText]:
    """Return the ids of rows whose absence proves nothing."""
    snapshot = profile_state.snapshot
    return frozenset() if snapshot is None else snapshot.rejected_ids | snapshot.in_doubt


def _is_recent(gap: Span) -> bool:
    return gap.until - gap.since < limits.RESTART_MEMORY / MS


def with_run_before(profile_state: ProfileState, before: ProfileState) -> ProfileState:
    """Return a new run's state with the last run's knowledge, if both have a listing.

    The caller checks that profile, host and account are the same.
    """
    if (at := profile_state.listed_at) is None or before.listed is None:
        return profile_state
    gap = Span(profile_state.clock.server_time(before.listed.wall), at)
    environments = {
        id_: _with_past(tracked, before.environments.get(id_), gap)
        for id_, tracked in profile_state.environments.items()
    }
    environments |= {tracked.environment.id: tracked for tracked in _gone(profile_state, before, gap)}
    return with_memory_of_run(replace(profile_state, environments=MappingProxyType(environments)), before, gap.until)


def with_memory_of_run(profile_state: ProfileState, before: ProfileState, at: ServerMs) -> ProfileState:
    """Return the state with an earlier run's memory of devices, and the resulting replacements."""
    common = [
        (was.environment, tracked.environment)
        for id_, tracked in profile_state.environments.items()
        if (was := before.environments.get(id_)) is not None
        and not (was.verdict.is_absent or tracked.verdict.is_absent)
    ]
    # If `firstSeenAt` of all rows moved equally, the server's clock was set.
    moved_by = {round((new.first_seen_at - old.first_seen_at) / SAME_INSTANT_MS) for old, new in common}
    is_clock = len(common) >= limits.ANOMALY_MIN and max(moved_by) - min(moved_by) <= 1
    has_moved_identity = profile_state.has_moved_identity or before.has_moved_identity
    has_moved_identity |= not is_clock and not all(keeps_identity(old, new) for old, new in common)
    environments = with_memory_of(profile_state.environments, before.environments)
    listed = frozenset(id_ for id_, tracked in environments.items() if not tracked.absent)
    inputs = RuleInputs(at=at, latest=latest_possible(profile_state.clock, at), is_off=has_moved_identity)
    environments = MappingProxyType(dict(with_replacements(environments, listed, inputs)))
    return replace(profile_state, environments=environments, has_moved_identity=has_moved_identity)


def known_rows(state: AlertState, profile: SafeText) -> Environments:
    """Return the rows of an alert state, known before the first listing."""
    lost = state.lost
    ids = sorted(state.online | lost.keys() | state.siblings.keys())
    return {id_: _known_row(id_, state, profile, lost.get(id_)) for id_ in ids}


def _known_row(id_: SafeText, state: AlertState, profile: SafeText, loss: Event | None) -> TrackedEnvironment:
    stored = state.rows.get(id_)
    if stored is None:
        name = EMPTY if loss is None or loss.name is None else loss.name
        row = Environment.unlisted(id_, name, ServerMs(state.looked_at))
        stored = TrackedEnvironment(environment=row, verdict=DISCONNECTED)
    beat_at, connection_id = stored.environment.last_heartbeat_at, stored.environment.connection_id
    is_online = id_ in state.online
    twins, beside = state.siblings.get(id_, (frozenset(), frozenset()))
    return replace(
        stored,
        profile=profile,
        verdict=ONLINE if is_online else _verdict_of(loss),
        since_at=None if loss is None or is_online else loss.at,
        # The heartbeat was listed at an unknown moment before this run's clocks began.
        last_known_heartbeat=LastHeartbeat(connection_id, beat_at, -inf) if connection_id and beat_at else None,
        twins=twins,
        offline_beside=beside,
    )


_MISSING_REASONS: Final = (Reason.NEVER_LISTED.value, Reason.EXPECTED.value)


def _verdict_of(loss: Event | None) -> Verdict:
    if loss is not None and loss.kind is Kind.GONE:
        return GONE
    reason = EMPTY if loss is None else loss.reason or EMPTY
    is_missing = (
        loss is not None and loss.kind is Kind.OFFLINE and reason.removesuffix(f", {ACK_ENDED}") in _MISSING_REASONS
    )
    return NEVER_LISTED if is_missing else DISCONNECTED


def losses_between_runs(before: ProfileState, after: ProfileState) -> Iterator[Event]:
    """Yield proved losses of rows that an earlier run left online."""
    if before.earlier is None or (at := after.listed_at) is None or after.listings == before.listings:
        return
    looked_at, rows = before.earlier
    since = min(after.clock.server_time(looked_at), at)
    remaining = {} if after.earlier is None else after.earlier.rows
    when = "while envwatch was not running"
    if at - since > limits.LONG_AGO / MS:
        when += f", which last looked {long_age(span(at - since))} before"
    for id_, known in rows.items():
        tracked = after.environments.get(id_)
        if id_ in remaining or tracked is None or not known.verdict.is_up or tracked.verdict.is_up:
            continue
        # The row before the loss: a disconnected row has no pod.
        row = replace(tracked.environment, pod_id=tracked.pod_id)
        yield tracked.event(
            Kind.OFFLINE if tracked.verdict.is_listed_off else Kind.GONE,
            at,
            since=since,
            before=clean(Presence.ONLINE),
            after=clean(tracked.presence),
            reason=composed(f"{tracked.verdict.reason} {when}"),
            then=replace(tracked.present_state, environment=row),
        )


def counting_since(before: ProfileState, after: ProfileState, words: Words) -> Iterator[TrackedEnvironment]:
    """Yield rows off in their first listing, for which a person said *always* after the earlier run's last look.

    A running envwatch takes such a row as lost at the moment of the word.
    """
    if before.earlier is None or after.listings == before.listings:
        return
    for id_, tracked in after.environments.items():
        if not tracked.verdict.is_listed_off or tracked.replaced_by is not None or id_ in before.environments:
            continue
        word = word_for(words, after.server, id_)
        if word is not None and word.is_always and word.at > before.earlier.looked_at:
            yield tracked


def _with_past(tracked: TrackedEnvironment, before: TrackedEnvironment | None, gap: Span) -> TrackedEnvironment:
    if tracked.since_at is not None or tracked.verdict.is_absent:
        return tracked
    if before is None:
        change = tracking.appearance(tracked.verdict, gap.until) if _is_recent(gap) else None
        return tracked if change is None else replace(tracked, last_change=tracked.last_change or change)
    if not tracked.environment.pod_id:
        tracked = replace(tracked, left_pod_id=tracked.left_pod_id or before.pod_id)
    since_at, change = None, _turn(tracked, before, gap)
    turned_at: tuple[ServerMs, ...] = ()
    if _is_same_state(tracked, before):
        since_at, change = before.since_at, before.last_change
        if _is_recent(gap):
            change = tracking.later_change(change, before.environment, tracked.environment, gap.until)
    elif change is not None:
        turned_at = (change.at,)
    changed_at = (*before.transitions, *turned_at, *tracked.transitions)
    transitions = tuple(at for at in changed_at if gap.until - at < CHURN_MS)
    return replace(
        tracked,
        since_at=since_at,
        last_change=tracked.last_change or change,
        transitions=transitions,
        is_flapping=tracking.is_flapping(transitions, gap.until, was_flapping=before.is_flapping),
    )


def _is_same_state(tracked: TrackedEnvironment, before: TrackedEnvironment) -> bool:
    if tracked.verdict.is_up != before.verdict.is_up or before.verdict.is_absent:
        return False
    if tracked.verdict.is_up:
        return not tracking.is_new_connection(before.environment, tracked.environment)
    return tracked.environment.last_seen_alive_at == before.environment.last_seen_alive_at


def _turn(tracked: TrackedEnvironment, before: TrackedEnvironment, gap: Span) -> RecentChange | None:
    row = tracked.environment
    at = row.connected_at if tracked.verdict.is_up else row.last_seen_alive_at
    if at is None or not gap.since <= at <= gap.until:
        if not _is_recent(gap):
            return None
        at = gap.until
    if tracked.verdict.is_up and before.verdict.is_up:
        return RecentChange(ChangeTag.CONNECTION, ServerMs(at))
    return tracking.turn(tracked.verdict, ServerMs(at))


def _gone(profile_state: ProfileState, before: ProfileState, gap: Span) -> Iterator[TrackedEnvironment]:
    """Yield the last run's rows that this run lacks.

    A newly gone row dates from this run's first listing, so that a later listing can return the row.
    """
    unproven = unproven_ids(profile_state)
    for id_, tracked in before.environments.items():
        if id_ in profile_state.environments or id_ in unproven or tracked.verdict.is_missing:
            continue
        if tracked.replaced_by is not None and tracked.replaced_by not in profile_state.environments:
            tracked = replace(tracked, replaced_by=None, replaced_by_name=None)  # noqa: PLW2901
        if tracked.presence is not Presence.GONE:
            change = tracking.turn(GONE, gap.until) if _is_recent(gap) else None
            tracked = replace(tracked, verdict=GONE, since_at=gap.until, last_change=change)  # noqa: PLW2901
        if tracked.since_at is not None and gap.until - min(tracked.since_at, gap.since) < GONE_KEPT_MS:
            yield _without_clocks(tracked, profile_state.elapsed_ms - (gap.until - gap.since))


def _without_clocks(tracked: TrackedEnvironment, listed_at_ms: float) -> TrackedEnvironment:
    """Return a row without times of the last run's monotonic clock.

    `listed_at_ms` is the newest heartbeat's last listing, relative to this run's first.
    """
    row = tracked.environment
    last_known = tracked.last_known_heartbeat
    if last_known is None and row.connection_id and row.last_heartbeat_at is not None:
        last_known = LastHeartbeat(row.connection_id, row.last_heartbeat_at, 0.0)
    return replace(
        tracked,
        absent=limits.LISTINGS_TO_GONE,
        skew_check=SkewCheck(),
        clock_suspect=False,
        has_impossible_time=False,
        is_flapping=False,
        last_known_heartbeat=None if last_known is None else last_known._replace(elapsed_ms=listed_at_ms),
        twins=frozenset(),
        offline_beside=frozenset(),
    )
