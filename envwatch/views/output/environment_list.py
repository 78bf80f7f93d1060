"""Lists of environments with verdicts, for commands and exports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from envwatch.fleet.events import NO_PROFILE
from envwatch.history.hours import LastDays
from envwatch.model.text import SafeText, composed
from envwatch.query.presentation import MatchContext, RowContext, contexts_of
from envwatch.views.state_style import ack_text, clock_warning, silenced_text, state_text
from envwatch.views.table.block import NO_BLOCK, Block
from envwatch.views.table.columns import SEARCHED, rank_of
from envwatch.views.table.table_view import Preset, View, by_name, by_value, in_default_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.alerts.alert_policy import Decision
    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Clocks, ServerMs
    from envwatch.model.outcome import Listed
    from envwatch.query.language import Query


class ListedEnvironment(NamedTuple):
    """An environment, judged at a moment."""

    tracked: TrackedEnvironment
    judged_at: ServerMs
    is_unknown: bool = False
    silenced: SafeText | None = None
    """`silenced until 10:00`, in place of a down row's reason."""
    decision: Decision | None = None

    @property
    def state(self) -> SafeText:
        """The presence, or `unknown`."""
        return state_text(self.tracked, is_unknown=self.is_unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentList:
    """A listing with verdicts, or a dashboard's rows."""

    rows: Sequence[ListedEnvironment]
    taken_at: float
    """The request of the oldest listing, in ms of the server's clock."""
    rejected: int
    rejected_ids: frozenset[SafeText] = frozenset()
    is_by_server_clock: bool
    """Whether the server sent a `Date` header; without, this machine's clock is used."""
    clock_warnings: Sequence[SafeText] = ()
    filter: SafeText | None = None
    preset: Preset | None = None
    """Apart from the query, whose terms on the same field are alternatives."""
    hidden: int = 0
    acknowledged: Mapping[EnvironmentKey, SafeText] = field(default_factory=dict)
    block: Block = NO_BLOCK
    remarks: Mapping[EnvironmentKey, SafeText] = field(default_factory=dict)
    unlisted: Sequence[SafeText] = ()
    columns: tuple[str, ...] = ()
    """The ids of chosen columns; empty for the usual columns or fields."""
    contexts: Mapping[tuple[SafeText, ServerMs], RowContext] = field(default_factory=dict)

    def context_of(self, row: ListedEnvironment) -> RowContext:
        """Return a row's context."""
        return self.contexts[row.tracked.profile, row.judged_at]

    @property
    def is_complete(self) -> bool:
        """Whether all profiles were listed, and all rows could be read and judged."""
        return not self.rejected and not self.unlisted and not self.untimed

    @property
    def untimed(self) -> int:
        """The number of rows with an impossible heartbeat time."""
        return sum(row.tracked.has_impossible_time for row in self.rows)

    def counts(self) -> Counter[str]:
        """Return the number of rows by state."""
        return Counter(row.state for row in self.rows)


def environment_list(
    listings: Mapping[SafeText, Listed], monitor: Monitor, unlisted: Sequence[SafeText] = ()
) -> EnvironmentList:
    """Return the environments of first listings, problems first; `monitor` is the state afterwards."""
    states = [monitor.fleet.by_profile[profile] for profile in listings]
    asked = {profile: listed.asked for profile, listed in listings.items()}
    taken_at = {each.profile: each.clock.server_time(asked[each.profile].wall) for each in states}
    judged_at = {
        (each.profile, row.id): at
        for each in states
        for row, at in listings[each.profile].snapshot.timed_rows(each.clock)
    }
    snapshots = [listed.snapshot for listed in listings.values()]
    judges = {profile: monitor.judge(now) for profile, now in asked.items()}
    contexts = {profile: contexts_of(monitor, now, LastDays(monitor, now))[profile] for profile, now in asked.items()}
    moments = {*taken_at.items(), *((profile, at) for (profile, _), at in judged_at.items())}
    return EnvironmentList(
        rows=[
            judged(tracked, judged_at.get(tracked.key, taken_at[tracked.profile]), judges[tracked.profile])
            for tracked in in_default_order(row for each in states for row in each.environments.values())
        ],
        taken_at=min(taken_at.values()),
        rejected=sum(snapshot.rejected for snapshot in snapshots),
        rejected_ids=frozenset().union(*(snapshot.rejected_ids for snapshot in snapshots)),
        is_by_server_clock=all(each.clock.is_known for each in states),
        clock_warnings=tuple(warning for each in states if (warning := _clock_warning(each)) is not None),
        unlisted=unlisted,
        contexts={(profile, at): contexts[profile]._replace(at=at) for profile, at in moments},
    )


def judged(tracked: TrackedEnvironment, at: ServerMs, judge: Judge) -> ListedEnvironment:
    """Return an environment, judged at a moment of the server's clock."""
    is_unknown = judge.fleet.for_environment(tracked).is_unknown(tracked, judge.now)
    is_down = tracked.is_flapping or not tracked.verdict.is_up
    silenced = silenced_text(tracked, judge) if is_down and tracked.replaced_by is None else None
    return ListedEnvironment(tracked, at, is_unknown, silenced, judge.decision_of(tracked))


def remarks_in(monitor: Monitor, now: Clocks) -> dict[EnvironmentKey, SafeText]:
    """Return texts on acknowledged down rows and silences: `acked: known`."""
    remarks: dict[EnvironmentKey, SafeText] = {}
    judge = monitor.judge(now)
    for tracked in monitor.fleet.environments:
        if not tracked.verdict.is_up and (ack := judge.ack_of(tracked)) is not None:
            at, zone = judge.moments[tracked.profile], judge.policy_of(tracked.profile).zone
            remarks[tracked.key] = ack_text(ack, at, zone)
        elif (silenced := silenced_text(tracked, judge)) is not None:
            remarks[tracked.key] = silenced
    return remarks


def _clock_warning(profile_state: ProfileState) -> SafeText | None:
    warning, profile = clock_warning(profile_state), profile_state.profile
    return composed(f"profile {profile}: {warning}") if warning is not None and profile else warning


def environment_list_of_rows(
    rows: Sequence[TrackedEnvironment], monitor: Monitor, view: View, now: Clocks
) -> EnvironmentList:
    """Return a dashboard's rows in the given order."""
    fleet, judge = monitor.fleet, monitor.judge(now)
    taken_at = {each.profile: listed_at for each in fleet if (listed_at := each.listed_at) is not None}
    listed = [profile_state for profile_state in fleet if profile_state.profile in taken_at]
    snapshots = [profile_state.snapshot for profile_state in listed if profile_state.snapshot is not None]
    contexts = contexts_of(monitor, now, LastDays(monitor, now))
    return EnvironmentList(
        rows=[judged(tracked, taken_at[tracked.profile], judge) for tracked in rows],
        taken_at=min(taken_at.values(), default=now.wall),
        rejected=sum(snapshot.rejected for snapshot in snapshots),
        rejected_ids=frozenset().union(*(snapshot.rejected_ids for snapshot in snapshots)),
        is_by_server_clock=all(profile_state.clock.is_known for profile_state in listed),
        filter=composed(str(view.query)) or None,
        preset=None if view.preset is Preset.ALL else view.preset,
        hidden=max(len(fleet) - len(rows), 0),
        acknowledged={tracked.key: ack.text for tracked in rows if (ack := judge.ack_of(tracked)) is not None},
        contexts={(profile, at): contexts[profile]._replace(at=at) for profile, at in taken_at.items()},
    )


def ordered_by(listing: EnvironmentList, column: str) -> EnvironmentList:
    """Return a listing sorted by a column; rows without a value come last."""
    rows = {row.tracked.key: row for row in listing.rows}
    environments = by_name(row.tracked for row in listing.rows)
    rank = rank_of(column, environments)
    ordered = by_value(
        environments, lambda tracked: rank(tracked, listing.context_of(rows[tracked.key])), is_inverted=False
    )
    return replace(listing, rows=[rows[tracked.key] for tracked in ordered])


def filtered(
    listing: EnvironmentList, query: Query, profile_name: SafeText = NO_PROFILE, preset: Preset = Preset.ALL
) -> EnvironmentList:
    """Return the environments that match the query and the preset, in order.

    `profile_name` is the name of a single profile, whose rows lack the name.
    """
    if preset is not Preset.ALL:
        part = filtered(listing, preset.query, profile_name)
        listing = replace(part, filter=listing.filter, preset=preset)
    if not query:
        return listing
    tests = {
        (profile, at): query.test(MatchContext(at, context.judge, profile_name), SEARCHED)
        for (profile, at), context in listing.contexts.items()
    }
    rows = [row for row in listing.rows if tests[row.tracked.profile, row.judged_at](row.tracked)]
    hidden = listing.hidden + len(listing.rows) - len(rows)
    return replace(listing, rows=rows, filter=composed(str(query)), hidden=hidden)
