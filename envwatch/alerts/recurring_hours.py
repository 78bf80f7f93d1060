"""Hours of a recurring silence, such as the nights of laptops.

Instants are ms since the epoch, by the server's clock. Each profile has a zone, whatever `model.times` is set to; None
is this machine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from envwatch.model.text import SafeText, clean, composed
from envwatch.model.times import DAY_MS

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY: Final = frozenset(range(len(DAYS)))
DAY_MINUTES: Final = 24 * 60

_DAY: Final = timedelta(days=1)
_NEAR_DAYS: Final = (2, 1, 0, -1)
"""Days before a moment's date on which the hours may begin; a zone may skip a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringHours:
    """Hours of some days by a zone's clocks: a table `[[silences]]`."""

    filter: str = ""
    """A query; empty for every environment."""
    days: frozenset[int] = EVERY_DAY
    """Days on which the hours begin; Monday is 0."""
    begin: int = 0
    """Minutes after midnight."""
    end: int = DAY_MINUTES
    """Minutes after midnight; an end up to `begin` is on the next day."""

    @property
    def is_always(self) -> bool:
        """Whether the hours never end."""
        return self.days == EVERY_DAY and (self.end - self.begin) % DAY_MINUTES == 0

    def __str__(self) -> str:
        return " ".join(filter(None, (self.filter, self.days_text, self.hours_text)))

    @property
    def days_text(self) -> str:
        """The setting `days`: `mon-fri`, `mon,wed`; empty for every day."""
        runs: list[list[int]] = []
        for day in sorted(self.days):
            if runs and day == runs[-1][-1] + 1:
                runs[-1].append(day)
            else:
                runs.append([day])
        texts = (DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs)
        return "" if self.days == EVERY_DAY else ",".join(texts)

    @property
    def hours_text(self) -> str:
        """The setting `hours`: `17:00-10:00`; empty for the whole day."""
        if (self.begin, self.end) == (0, DAY_MINUTES):
            return ""
        return "-".join(f"{at // 60:02}:{at % 60:02}" for at in (self.begin, self.end))

    def span_at(self, at: float, zone: tzinfo | None) -> tuple[float, float] | None:
        """Return start and end of the hours at a moment; None outside."""
        return _span_at(self, at, zone)

    def span_of(self, day: date, zone: tzinfo | None) -> tuple[float, float]:
        """Return start and end of a day's hours, or an empty span."""
        if day.weekday() not in self.days:
            return 0.0, 0.0
        end = self.end if self.end > self.begin else self.end + DAY_MINUTES
        return instant(day, self.begin, zone), instant(day, end, zone)


@lru_cache(maxsize=4096)  # a thousand rows ask each second
def _span_at(hours: RecurringHours, at: float, zone: tzinfo | None) -> tuple[float, float] | None:
    try:
        today = clock_time(at, zone).date()
        spans = [hours.span_of(today - days * _DAY, zone) for days in _NEAR_DAYS]
    except (ValueError, OverflowError, OSError):  # no clock shows such a moment
        return None
    return max((span for span in spans if span[0] <= at < span[1]), key=lambda span: span[1], default=None)


def near_time_text(at: float, now: float, zone: tzinfo | None) -> SafeText:
    """Return a moment: `10:00`; `Mon 10:00` if a day from now; `2026-12-24 10:00` if a week."""
    try:
        when = clock_time(at, zone)
    except (ValueError, OverflowError, OSError):
        return clean("later")
    if abs(at - now) >= 7 * DAY_MS:
        return composed(f"{when:%Y-%m-%d %H:%M}")
    day = f"{DAYS[when.weekday()].capitalize()} " if abs(at - now) >= DAY_MS else ""
    return composed(f"{day}{when:%H:%M}")


def not_back_by_text(end: float, now: float, zone: tzinfo | None) -> SafeText:
    """Return `not back by 10:00`."""
    return composed(f"not back by {near_time_text(end, now, zone)}")


def clock_time(at: float, zone: tzinfo | None) -> datetime:
    """Return a zone's naive time at an instant."""
    seconds = at / 1000
    if zone is None:
        return datetime.fromtimestamp(seconds)  # noqa: DTZ006 - this machine's zone
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).replace(tzinfo=None)


def instant(day: date, minutes: int, zone: tzinfo | None) -> float:
    """Return when a zone's clocks first show a time or a later time."""
    shown = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
    late, early = (_timestamp(shown.replace(fold=fold), zone) for fold in (0, 1))
    if late <= early:
        return late * 1000  # the clocks show the time once or twice
    # The clocks skip the time between the two instants.
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (early, middle) if clock_time(middle * 1000, zone) >= shown else (middle, late)
    return late * 1000


def _timestamp(local: datetime, zone: tzinfo | None) -> float:
    return float((local if zone is None else local.replace(tzinfo=zone)).timestamp())
