"""What was not seen in a period and why, and what was seen with doubts.

Pure: from the polls, the events of periods and the times without watching, which others compute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envwatch.fleet.events import Event, Kind
from envwatch.fleet.periods import ENDS
from envwatch.views.report_changes import first_after
from envwatch.views.report_values import Gap, GapCause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.fleet.watched_time import Span
    from envwatch.model.clock import ServerMs

_CAUSES: Final[Mapping[Kind, GapCause]] = {
    Kind.SLEPT: GapCause.SLEPT,
    Kind.KEY_REFUSED: GapCause.KEY_REFUSED,
    Kind.FAILING: GapCause.FAILING,
    Kind.HELD: GapCause.QUARANTINED,
    Kind.STALLED: GapCause.STALLED,
    Kind.BLIND: GapCause.BLIND,
}
"""By the kind of event that begins the time; the first one that applies is named for a gap."""
_ORDER: Final = tuple(_CAUSES.values())


def periods_of(
    events: Sequence[Event], open_at_end: Iterable[Kind], run_ends: Sequence[ServerMs], period: Span
) -> tuple[Gap, ...]:
    """Return the times within a period for which events give a cause, oldest first; they may overlap.

    The events are without groups, oldest first. A period ends with its run of envwatch at the latest, whose last polls
    are `run_ends`, oldest first; those of the kinds `open_at_end` last until the end.
    """
    found: list[Gap] = []
    begun: dict[Kind, Event] = {}
    still_open = frozenset(open_at_end)

    def add(begin: Event | None, kind: Kind, since: ServerMs, until: ServerMs, *, is_open: bool = False) -> None:
        began_at, ended_at = max(since, period.since), min(until, period.until)
        if began_at < ended_at:
            reason = None if begin is None else begin.reason
            found.append(Gap(began_at=began_at, ended_at=ended_at, is_open=is_open, cause=_CAUSES[kind], reason=reason))

    def cut(kind: Kind, begin: Event, *, is_open: bool = False) -> None:
        until = period.until if is_open else first_after(run_ends, begin.at, period.until)
        add(begin, kind, _since(begin), until, is_open=is_open)

    kind_of_end = {end: begin for begin, end in ENDS.items()}
    for event in events:
        if event.kind in ENDS:
            if (earlier := begun.pop(event.kind, None)) is not None:
                cut(event.kind, earlier)  # its run ended first
            begun[event.kind] = event
        elif (kind := kind_of_end.get(event.kind)) is not None:
            begin = begun.pop(kind, None)
            add(begin, kind, _since(event if begin is None else begin), event.at)
        elif event.kind is Kind.SLEPT:
            add(None, Kind.SLEPT, _since(event), event.at)
    for kind, begin in begun.items():
        cut(kind, begin, is_open=kind in still_open)
    return tuple(sorted(found, key=lambda gap: gap.began_at))


def with_causes(
    unwatched: Iterable[Span], causes: Sequence[Gap], run_starts: Sequence[ServerMs], period: Span
) -> tuple[Gap, ...]:
    """Return the times of a period without watching, oldest first, each with why nothing was seen.

    `run_starts` are the first polls of runs of envwatch, oldest first.
    """
    gaps = []
    for began_at, ended_at in unwatched:
        is_open = ended_at >= period.until
        within = [cause for cause in causes if cause.began_at < ended_at and cause.ended_at > began_at]
        named = min(within, key=lambda cause: _ORDER.index(cause.cause), default=None)
        cause, reason = (GapCause.NO_POLLS, None) if named is None else (named.cause, named.reason)
        has_start = any(began_at < start <= ended_at for start in run_starts)
        if has_start or (named is None and is_open):
            cause, reason = GapCause.NOT_RUNNING, None
        gaps.append(Gap(began_at=began_at, ended_at=ended_at, is_open=is_open, cause=cause, reason=reason))
    return tuple(gaps)


def doubts_in(causes: Iterable[Gap], gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Return the times that are in doubt and no gap names: blind ones and sleeps are gaps as far as they count."""

    def is_in_a_gap(doubt: Gap) -> bool:
        return any(gap.began_at < doubt.ended_at and doubt.began_at < gap.ended_at for gap in gaps)

    return tuple(
        doubt for doubt in causes if doubt.cause not in {GapCause.SLEPT, GapCause.BLIND} and not is_in_a_gap(doubt)
    )


def _since(event: Event) -> ServerMs:
    return event.at if event.since is None else event.since
