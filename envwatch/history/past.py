"""Values and protocol of recorded time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from envwatch.model.text import EMPTY, SafeText, clean, composed, counted
from envwatch.model.times import DAY_MS, date_text, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from envwatch.fleet.events import Event
    from envwatch.history.moment import Moment
    from envwatch.model.clock import WallMs
    from envwatch.model.outcome import RecordedPoll


class HistoryError(Exception):
    """Base of the errors of recorded time. The message is a line for people, without a path."""


class DamagedError(HistoryError):
    """The file is no history, or has impossible content."""


class NewerError(HistoryError):
    """A newer envwatch wrote the file in an unknown format."""


class GoneError(HistoryError):
    """The file does not exist, or is empty so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The origin of a recording."""

    profile: SafeText
    base_url: SafeText
    version: SafeText
    """Of the envwatch that recorded."""
    is_redacted: bool = False

    @classmethod
    def from_rows(cls, rows: Mapping[str, object]) -> About:
        """Return the origin; a copied day file has `host` and `envwatch` for base URL and version."""
        texts = {name: clean(str(value)) for name, value in rows.items()}
        base_url = texts.get("base_url") or composed(f"https://{texts.get('host', '')}")
        return cls(
            profile=texts.get("profile", EMPTY),
            base_url=base_url,
            version=texts.get("version", texts.get("envwatch", EMPTY)),
            is_redacted=texts.get("is_redacted") == str(True),
        )

    def rows(self) -> dict[str, str]:
        """Return the fields as texts."""
        return {name: str(value) for name, value in asdict(self).items()}

    @property
    def host(self) -> SafeText:
        """The server's host, with a port."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])


def _time_text(at: float) -> str:
    return date_text(at, None)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Records of a time that cannot be read."""

    what: Literal["history", "poll", "event"]
    """`history` stands for all polls and events of the time."""
    since: float
    """In ms since the epoch, like `until`; by the clock of the machine that recorded."""
    until: float
    reason: SafeText
    count: int | None = None
    """The number of polls or events; None for `history`."""

    def text(self, time_text: Callable[[float], str] = _time_text) -> str:
        """Return the records in words, without the reason: `2 polls from 02:13 to 02:14 are left out`."""
        since, until = time_text(self.since), time_text(self.until)
        when = f"at {since}" if since == until else f"from {since} to {until}"
        if self.count is not None:
            return f"{counted(self.count, self.what)} {when} {'is' if self.count == 1 else 'are'} left out"
        day = moment(self.since, UTC)
        if day is not None and not self.since % DAY_MS and self.until - self.since == DAY_MS:
            when = f"of {day:%Y-%m-%d}"
        return f"the history {when} is left out"


NO_EVENTS: Final[Mapping[Event, Event]] = MappingProxyType({})


class RecordedStep(NamedTuple):
    """A poll with events, events without a poll, or records that cannot be read."""

    at: WallMs
    poll: RecordedPoll | None
    events: Sequence[Event]
    left_out: LeftOut | None = None

    def without_poll(self, reason: SafeText) -> RecordedStep:
        """Return the step with the poll as an unreadable poll; the events stay."""
        return self._replace(poll=None, left_out=LeftOut("poll", self.at, self.at, reason, 1))


class Past(Protocol):
    """Reads a profile's records from a disk, in any thread. Methods raise `HistoryError`."""

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a period, both ends included, in recording order."""

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return the moment right after a poll, equal to the recorded moment.

        The moment after the previous call's moment is much cheaper than others.
        """

    def steps(self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS) -> Iterator[RecordedStep]:
        """Yield the polls of a period with events, both ends included, in recording order.

        Events without a poll are a separate step. A group has its members. Records that cannot be read are steps with
        `left_out`. A poll whose moment alone cannot be read is among the polls.

        An event that equals a key of `known` is the key's value, because a second object takes 1 KiB.
        """

    def forget(self) -> None:
        """Free the memory that makes the next moment cheap."""


def events_of(steps: Iterable[RecordedStep]) -> list[Event]:
    """Return the events in recording order."""
    return [event for step in steps for event in step.events]


def left_out_of(steps: Iterable[RecordedStep]) -> list[LeftOut]:
    """Return the unreadable records, oldest first. Polls without a readable poll in between are one entry."""
    decisive = [step for step in steps if step.poll is not None or step.left_out is not None]
    found: list[LeftOut] = []
    for is_poll, run in groupby(decisive, lambda step: step.left_out is not None and step.left_out.what == "poll"):
        its = [step.left_out for step in run if step.left_out is not None]
        found += [_united(its)] if is_poll else its
    return sorted(found, key=lambda each: each.since)


def _united(polls: Sequence[LeftOut]) -> LeftOut:
    since, until = min(poll.since for poll in polls), max(poll.until for poll in polls)
    return replace(polls[0], since=since, until=until, count=len(polls))
