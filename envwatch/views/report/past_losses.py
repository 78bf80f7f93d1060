"""The recorded outages of rows that count by the present rules, for `envwatch alerts --since`."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.text import SafeText, clean, composed, counted, shortened
from envwatch.model.times import date_text, long_age
from envwatch.views.output.formats import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import timedelta, tzinfo

    from envwatch.views.report.values import Downtime

_NAME_CELLS: Final = 40
_NOTHING: Final = clean("-")


class PastLosses(NamedTuple):
    """The recorded outages of a period, by the present rules."""

    found: Sequence[tuple[SafeText, Downtime]]
    """The outages that would have been told, each with the profile, which is empty for a single profile."""
    short: int = 0
    """The number of outages of rows that count, under `alert_after`."""
    needless: int = 0
    """The number of outages of rows that do not count."""


def past_losses(
    outages: Iterable[Downtime], counts: Callable[[SafeText], bool], alert_after: timedelta, profile: SafeText
) -> PastLosses:
    """Return the outages that would have been told; `counts` says whether a row counts, by id."""
    outages = [*outages]
    counting = [outage for outage in outages if counts(outage.subject.id)]
    found = [(profile, outage) for outage in counting if outage.lasted >= alert_after]
    return PastLosses(found, len(counting) - len(found), len(outages) - len(counting))


def joined(parts: Iterable[PastLosses]) -> PastLosses:
    """Return the outages of several profiles, oldest first."""
    parts = [*parts]
    found = sorted((loss for part in parts for loss in part.found), key=lambda loss: loss[1].began_at or -inf)
    return PastLosses(found, sum(part.short for part in parts), sum(part.needless for part in parts))


def table_of(losses: PastLosses, zone: tzinfo | None = None) -> list[tuple[SafeText, ...]]:
    """Return the cells of a table of outages, the titles first."""
    has_profiles = any(profile for profile, _ in losses.found)

    def cells_of(profile: SafeText, outage: Downtime) -> Iterator[SafeText]:
        yield clean("before" if outage.began_at is None else date_text(outage.began_at, zone))
        yield clean(f"{long_age(outage.lasted)}{', still' if outage.ended_at is None else ''}")
        yield shortened(outage.subject.name, _NAME_CELLS, keep="ends")
        if has_profiles:
            yield profile
        yield outage.reason or _NOTHING

    titles = ("BEGAN", "LASTED", "NAME", *(["PROFILE"] if has_profiles else []), "WHY")
    return [tuple(map(clean, titles)), *(tuple(cells_of(*loss)) for loss in losses.found)]


def tally_text(losses: PastLosses) -> SafeText:
    """Return the numbers: `2 outages would have been told, 5 were too short, 12 of rows that do not count`."""
    parts = [f"{counted(len(losses.found), 'outage')} would have been told"]
    if losses.short:
        parts.append(f"{losses.short:,} too short")
    if losses.needless:
        parts.append(f"{losses.needless:,} of rows that do not count")
    return composed(", ".join(parts))


def json_of(losses: PastLosses) -> bytes:
    """Return the outages as a JSON array in UTF-8; the names are stable."""
    outages = [
        {
            "id": outage.subject.id,
            "name": outage.subject.name,
            "profile": profile or None,
            "began_at": iso(outage.began_at),
            "ended_at": iso(outage.ended_at),
            "lasted_s": outage.lasted.total_seconds(),
            "reason": outage.reason,
        }
        for profile, outage in losses.found
    ]
    return json.dumps(outages, indent=2, ensure_ascii=False).encode() + b"\n"
