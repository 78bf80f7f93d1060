"""How a report writes times: the zone once, the date only where it is needed. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model.times import MS, long_age, moment, span

if TYPE_CHECKING:
    from datetime import tzinfo

_DAY_MS: Final = timedelta(days=1) / MS


class ReportClock(NamedTuple):
    """Writes the times of one period."""

    since: float
    """Begin and end of the period, server's clock in ms."""
    until: float
    zone: tzinfo | None = None
    """None for the local one."""

    def text(self, at: float) -> str:
        """Return a time: `02:13`; more than a day before the end, or if the period is longer, `Tue 24 Nov 02:13`."""
        if (when := moment(at, self.zone)) is None:
            return "a time outside the calendar"
        is_short = self.until - _DAY_MS < at <= self.until <= self.since + _DAY_MS
        return self._time(when) if is_short else f"{self._date(when)} {self._time(when)}"

    def span(self, since: float, until: float, *, is_open: bool = False) -> str:
        """Return from when to when, within a minute only when; or since when."""
        begin, end = self.text(since), self.text(until)
        if is_open:
            return f"since {begin}"
        return begin if begin == end else f"{begin} to {end}"

    @property
    def headline(self) -> str:
        """The whole period with its dates and the zone."""
        begin, end = moment(self.since, self.zone), moment(self.until, self.zone)
        if begin is None or end is None:
            return "a time outside the calendar"
        last = self._time(end) if begin.date() == end.date() else f"{self._date(end)} {self._time(end)}"
        zone = "" if self._is_shifted else f", times in {_zone_text(end)}"
        return f"{self._date(begin)} {self._time(begin)} to {last} ({long_age(span(self.until - self.since))}){zone}"

    def _date(self, when: datetime) -> str:
        """Return a date, with its year where that is not the one of the period's end."""
        end = moment(self.until, self.zone)
        return f"{when:%a %d %b}" if end is not None and when.year == end.year else f"{when:%a %d %b %Y}"

    def _time(self, when: datetime) -> str:
        """Return a time of day, with its zone where the clocks go forward or back within the period."""
        return f"{when:%H:%M} {_zone_name(when)}" if self._is_shifted else f"{when:%H:%M}"

    @property
    def _is_shifted(self) -> bool:
        begin, end = moment(self.since, self.zone), moment(self.until, self.zone)
        return begin is not None and end is not None and begin.utcoffset() != end.utcoffset()


def _zone_text(when: datetime) -> str:
    """Return a zone with its offset: `CET (UTC+1)`."""
    name, offset = _zone_name(when), _offset(when)
    return offset if name in {"UTC", "GMT", offset} else f"{name} ({offset})"


def _zone_name(when: datetime) -> str:
    """Return the short name of a zone, or its offset if it has none in letters."""
    name = when.tzname() or ""
    return name if name.isascii() and name.isalpha() else _offset(when)


def _offset(when: datetime) -> str:
    minutes = int((when.utcoffset() or timedelta()) / timedelta(minutes=1))
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
