"""Environments with their verdicts, as commands and exports give them out, and how lists are joined and filtered.

Pure. The formats are in `output`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.text import Clean
from envwatch.query.field_types import MatchContext
from envwatch.views.columns import COLUMNS
from envwatch.views.state_style import clock_warning
from envwatch.views.table_view import Preset, in_default_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading, ServerMs
    from envwatch.model.outcome import Listed
    from envwatch.query.language import Query
    from envwatch.views.table_view import View


UNKNOWN: Final = Clean("unknown")
"""The state of an environment whose last verdict is out of date."""


class ListedEnvironment(NamedTuple):
    """An environment with the moment of its verdict."""

    tracked: TrackedEnvironment
    judged_at: ServerMs
    """The moment of both the verdict and the heartbeat's age."""
    is_unknown: bool = False
    """Whether the verdict is out of date (`Fleet.is_unknown`)."""

    @property
    def state(self) -> Clean:
        """The presence, or `unknown`."""
        return UNKNOWN if self.is_unknown else Clean(self.tracked.presence.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentList:
    """Environments with their verdicts: a listing, or what a dashboard shows."""

    rows: Sequence[ListedEnvironment]
    """In the order of the output."""
    taken_at: float
    """When the listing was requested, the oldest of several: server's clock, in ms."""
    set_aside: int
    """Rows that could not be read."""
    set_aside_ids: frozenset[Clean] = frozenset()
    """The ids of those rows, as far as they could be read."""
    is_by_server_clock: bool
    """False if no response had a Date header, so that this machine's clock was used."""
    clock_warnings: Sequence[Clean] = ()
    """What is wrong with the clocks: one sentence for each profile where they differ by 5 s or more."""
    filter: Clean | None = None
    """The query that the rows match."""
    preset: Preset | None = None
    """The preset that they match as well. It is no part of the query, where terms on one field are alternatives."""
    hidden: int = 0
    """Environments that do not match."""
    acknowledged: Mapping[Clean, Clean] = field(default_factory=dict)
    """Notes by the environment's id: under two profiles it is one problem."""
    unlisted: Sequence[Clean] = ()
    """Profiles that were requested but could not be listed."""

    @property
    def is_complete(self) -> bool:
        """Whether every profile was listed and every row could be read and judged."""
        return not self.set_aside and not self.unlisted and not self.untimed

    @property
    def untimed(self) -> int:
        """How many of the rows have a heartbeat whose time cannot be true."""
        return sum(row.tracked.is_untimed for row in self.rows)

    def counts(self) -> Counter[str]:
        """Return how many of the rows have each state."""
        return Counter(row.state for row in self.rows)


def environment_list(listed: Listed, fleet: Fleet) -> EnvironmentList:
    """Return the environments of a first listing, problems first; `fleet` is the one after it."""
    judged_at: dict[Clean, ServerMs] = {}
    for page in listed.snapshot.pages:
        at = fleet.clock.at(page.asked_at)
        # Of an id listed twice, the fleet has chosen one row.
        for row in page.environments:
            # A row with an impossible time is no longer the one that was received.
            if row.id not in judged_at or fleet.environments[row.id].environment is row:
                judged_at[row.id] = at
    ordered = in_default_order(fleet.environments.values())
    taken_at = fleet.clock.at(listed.asked.wall)
    return EnvironmentList(
        rows=[
            ListedEnvironment(tracked, judged_at.get(tracked.environment.id, taken_at), tracked.is_untimed)
            for tracked in ordered
        ],
        taken_at=taken_at,
        set_aside=listed.snapshot.set_aside,
        set_aside_ids=listed.snapshot.set_aside_ids,
        is_by_server_clock=fleet.clock.is_known,
        clock_warnings=_clock_warnings(fleet),
    )


def _clock_warnings(fleet: Fleet) -> tuple[Clean, ...]:
    warning = clock_warning(fleet)
    if warning is None:
        return ()
    return (Clean(f"profile {fleet.profile}: {warning}") if fleet.profile else warning,)


def environment_list_of_rows(
    rows: Sequence[TrackedEnvironment], fleets: Fleets, view: View, acks: Acks, now: Reading
) -> EnvironmentList:
    """Return the rows that a dashboard shows, in their order, as matched by its view."""
    taken_at = {fleet.profile: fleet.clock.at(fleet.listed.wall) for fleet in fleets if fleet.listed is not None}
    snapshots = [fleet.snapshot for fleet in fleets if fleet.listed is not None and fleet.snapshot is not None]
    return EnvironmentList(
        rows=[
            ListedEnvironment(tracked, taken_at[tracked.profile], fleets.is_unknown(tracked, now)) for tracked in rows
        ],
        taken_at=min(taken_at.values(), default=now.wall),
        set_aside=sum(snapshot.set_aside for snapshot in snapshots),
        set_aside_ids=frozenset().union(*(snapshot.set_aside_ids for snapshot in snapshots)),
        is_by_server_clock=all(fleet.clock.is_known for fleet in fleets if fleet.listed is not None),
        filter=Clean(str(view.query)) or None,
        preset=None if view.preset is Preset.ALL else view.preset,
        hidden=max(len(fleets) - len(rows), 0),
        acknowledged={id_: ack.note for id_, ack in acks.items()},
    )


def merged(listings: Sequence[EnvironmentList], unlisted: Sequence[Clean] = ()) -> EnvironmentList:
    """Return the environments of several profiles in one list, problems first.

    There is at least one listing, each of another profile, all with the same filter; `unlisted` profiles have none.
    """
    rows = {row.tracked.key: row for listing in listings for row in listing.rows}
    return EnvironmentList(
        rows=[rows[tracked.key] for tracked in in_default_order(row.tracked for row in rows.values())],
        taken_at=min(listing.taken_at for listing in listings),
        set_aside=sum(listing.set_aside for listing in listings),
        set_aside_ids=frozenset().union(*(listing.set_aside_ids for listing in listings)),
        is_by_server_clock=all(listing.is_by_server_clock for listing in listings),
        clock_warnings=[warning for listing in listings for warning in listing.clock_warnings],
        filter=listings[0].filter,
        hidden=sum(listing.hidden for listing in listings),
        acknowledged={id_: note for listing in listings for id_, note in listing.acknowledged.items()},
        unlisted=unlisted,
    )


def filtered(listing: EnvironmentList, query: Query, profile_name: Clean = NO_PROFILE) -> EnvironmentList:
    """Return the environments of one profile that match a query, in the same order.

    Words are looked for in every column, whatever the format shows, and ages are of each row's own moment.
    `profile_name` is given also where only one profile is listed.
    """
    if not query:
        return listing
    moments = {row.judged_at for row in listing.rows}
    tests = {at: query.test(MatchContext(at, profile=profile_name), tuple(COLUMNS.values())) for at in moments}
    rows = [row for row in listing.rows if tests[row.judged_at](row.tracked)]
    hidden = listing.hidden + len(listing.rows) - len(rows)
    return replace(listing, rows=rows, filter=Clean(str(query)), hidden=hidden)
