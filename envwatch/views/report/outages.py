"""The outages of environments in a recorded period."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.losses import is_loss
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.watched_time import Interval, UptimeState, outages, states
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.text import SafeText, clean, composed, counted, shortened
from envwatch.model.times import date_text, long_age, span
from envwatch.views.output.formats import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import timedelta, tzinfo

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.report.period import Recorded

_ONE_LISTING_MS: Final = 1_000.0
"""Instants may differ by this, because each listing estimates the server's clock anew."""
_NAME_CELLS: Final = 40
_NOTHING: Final = clean("-")


class Downtime(NamedTuple):
    """An outage of an environment."""

    id: SafeText
    name: SafeText
    began_at: ServerMs | None
    """The begin, which may lie before the period."""
    ended_at: ServerMs | None
    lasted: timedelta
    """The time from the begin, or from the first sight, to the end of the outage or period."""
    seen: timedelta
    reason: SafeText | None
    losses: Sequence[Event] = ()
    """The loss, and the end of a silence within the outage."""
    intervals: Sequence[Interval] = ()

    @property
    def values(self) -> dict[str, object]:
        """The outage in JSON, with stable names."""
        return {
            "id": self.id,
            "name": self.name,
            "began_at": iso(self.began_at),
            "ended_at": iso(self.ended_at),
            "lasted_s": self.lasted.total_seconds(),
            "reason": self.reason,
        }


class RowPast(NamedTuple):
    """An environment's past within a period."""

    events: Sequence[Event]
    intervals: Sequence[Interval]
    downtimes: Sequence[Downtime]

    @property
    def loss(self) -> Event | None:
        """The newest loss since the environment was last up, if any."""
        last_up_at = max((each.since for each in self.intervals if each.state.is_up), default=-inf)
        return next((event for event in reversed(self.events) if is_told(event) and event.at >= last_up_at), None)


def is_told(event: Event) -> bool:
    """Whether an event began an outage, or ended a silence within an outage."""
    return is_loss(event) or event.kind is Kind.NOT_BACK


def lost_at(tracked: TrackedEnvironment) -> ServerMs | None:
    """Return when an environment went down; None for an impossible instant."""
    return ServerMs(tracked.lost_at) if tracked.lost_at >= limits.EARLIEST_MS else None


def row_pasts(recorded: Recorded) -> dict[SafeText, RowPast]:
    """Return the past of each environment by id."""
    own_events: dict[SafeText, list[Event]] = {id_: [] for id_ in recorded.last.profile_state.environments}
    for event in flatten(recorded.events):
        if event.id is not None:
            own_events.setdefault(event.id, []).append(event)
    return {id_: _past_of(id_, events, recorded) for id_, events in own_events.items()}


def _past_of(id_: SafeText, events: Sequence[Event], recorded: Recorded) -> RowPast:
    before, after = (moment.profile_state.environments.get(id_) for moment in (recorded.first, recorded.last))
    intervals = states(after, events, recorded.watched, *recorded.span)
    ups = [each.until for each in intervals if each.state.is_up]
    # A replaced environment is back under another name.
    backs = [each.since for each in intervals if each.state.is_up or each.state is UptimeState.ABSENT]
    down = [each for each in intervals if each.state is UptimeState.DOWN]
    downtimes: list[Downtime] = []
    for outage in outages(intervals):
        # The loss may lie in the gap after the last time up.
        place = bisect_right(ups, outage.since)
        own = [event for event in events if event.at >= (ups[place - 1] if place else -inf)]
        losses = [event for event in own if is_told(event) and event.at <= outage.until]
        begins = [event.at for event in own if is_loss(event) or event.kind is Kind.APPEARED]
        began_at = min(begins[0], outage.since) if begins and begins[0] <= outage.since + _ONE_LISTING_MS else None
        reasons = [loss.reason for loss in losses]
        if before is not None and not before.verdict.is_up:
            began_at = lost_at(before) if began_at is None and not downtimes else began_at
            reasons = reasons or [clean(before.verdict.reason)]
        place = bisect_left(backs, outage.until)
        ended_at = backs[place] if place < len(backs) else None
        until = recorded.span.until if ended_at is None else ended_at
        downtimes.append(
            Downtime(
                id=id_,
                name=recorded.names.get(id_, id_),
                began_at=began_at,
                ended_at=ended_at,
                lasted=span(until - (outage.since if began_at is None else began_at)),
                seen=outage.down,
                reason=next(filter(None, reasons), outage.reason),
                losses=losses,
                intervals=[each for each in down if outage.since <= each.since < outage.until],
            )
        )
    return RowPast(events, intervals, downtimes)


def outages_in(recorded: Recorded) -> list[Downtime]:
    """Return all outages, the longest first."""
    found = [downtime for past in row_pasts(recorded).values() for downtime in past.downtimes]
    return sorted(found, key=lambda downtime: -downtime.lasted)


def losses_together(events: Iterable[Event]) -> list[tuple[list[Event], list[Event]]]:
    """Return losses and groups, for each incident or group of two or more environments, oldest first.

    Losses without an incident come last.
    """
    losses: dict[object, list[Event]] = defaultdict(list)
    groups: dict[object, list[Event]] = defaultdict(list)
    for event in events:
        found = [loss for loss in flatten([event]) if is_told(loss)]
        of_group = {loss.incident for loss in found if loss.incident is not None}
        for loss in sorted(found, key=lambda loss: loss.incident is None):
            key = loss.incident or (next(iter(of_group)) if len(of_group) == 1 else id(event))
            losses[key].append(loss)
            if event.members and not any(event is group for group in groups[key]):
                groups[key].append(event)
    several = (key for key, lost in losses.items() if len({loss.id for loss in lost}) > 1)
    return [(losses[key], groups[key]) for key in several]


class PastLosses(NamedTuple):
    """The recorded outages of a period, by the present rules."""

    found: Sequence[tuple[SafeText, Downtime]]
    """The outages worth a message, with the profile if there are several."""
    short: int = 0
    """The number of outages of rows that count, under `alert_after`."""
    needless: int = 0
    """The number of outages of machines that do not page."""


def past_losses(
    downtimes: Iterable[Downtime], counts: Callable[[SafeText], bool], alert_after: timedelta, profile: SafeText
) -> PastLosses:
    """Return the outages; `counts` tells by id whether a row counts."""
    downtimes = [*downtimes]
    counting = [downtime for downtime in downtimes if counts(downtime.id)]
    found = [(profile, downtime) for downtime in counting if downtime.lasted >= alert_after]
    return PastLosses(found, len(counting) - len(found), len(downtimes) - len(counting))


def joined(parts: Sequence[PastLosses]) -> PastLosses:
    """Return the outages of several profiles, oldest first."""
    found = sorted((loss for part in parts for loss in part.found), key=lambda loss: loss[1].began_at or -inf)
    return PastLosses(found, sum(part.short for part in parts), sum(part.needless for part in parts))


def outages_table(losses: PastLosses, zone: tzinfo | None = None) -> list[tuple[SafeText, ...]]:
    """Return a table's cells, the titles first."""
    rows = [tuple(map(clean, ("BEGAN", "LASTED", "NAME", "PROFILE", "WHY")))]
    for profile, downtime in losses.found:
        began = clean("before") if downtime.began_at is None else date_text(downtime.began_at, zone)
        lasted = clean(f"{long_age(downtime.lasted)}{', still' if downtime.ended_at is None else ''}")
        name = shortened(downtime.name, _NAME_CELLS, keep="ends")
        rows.append((began, lasted, name, profile, downtime.reason or _NOTHING))
    has_profiles = any(profile for profile, _ in losses.found)
    return rows if has_profiles else [(*cells[:3], cells[4]) for cells in rows]


def outages_tally(losses: PastLosses) -> SafeText:
    """Return the numbers: `2 outages would have been told, 5 too short`."""
    parts = [f"{counted(len(losses.found), 'outage')} would have been told"]
    if losses.short:
        parts.append(f"{losses.short:,} too short")
    if losses.needless:
        parts.append(f"{losses.needless:,} of machines that do not page")
    return composed(", ".join(parts))


def outages_json(losses: PastLosses) -> bytes:
    """Return the outages as a JSON array in UTF-8."""
    found = [
        {"id": downtime.id, "name": downtime.name, "profile": profile or None, **downtime.values}
        for profile, downtime in losses.found
    ]
    return json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"
