"""Silences: no alerts during planned work or at recurring hours.

A person's silence ends by this machine's clock, because a person names the end, and covers rows that are off already. A
configured silence recurs by the server's clock, and covers only losses that begin in the hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import blake2s
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.fleet.problems import is_problem, went_off_at
from envwatch.model import limits
from envwatch.model.acks import LONGEST_NAME, LONGEST_NOTE
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import EMPTY, LONGEST, SafeText, clean, composed
from envwatch.model.times import MS
from envwatch.stored.codecs import CLOCK, TEXT, Codec, list_of, optional, record, text_up_to
from envwatch.stored.entries import entries_in, readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta, tzinfo

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.alerts.recurring_hours import RecurringHours
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import Matcher, MatcherOf, TrackedEnvironment
    from envwatch.model.clock import ServerClock


_LONGEST_QUERY: Final = 1_000
_NAME: Final = text_up_to(LONGEST_NAME)
_ID: Final = text_up_to(LONGEST)

_SLACK_MS: Final = limits.SILENCE_CLOCK_SLACK / MS
_MERGED_MS: Final = limits.SILENCES_MERGE_FOR / MS
_NEVER: Final = WallMs(0.0)
"""Begin and end of a recurring silence, which no file has."""


class Silence(NamedTuple):
    """A silence of a query's or listed environments, once or recurring."""

    id: SafeText
    at: WallMs = _NEVER
    until: WallMs = _NEVER
    note: SafeText = EMPTY
    by: SafeText = EMPTY
    """User name on this machine; empty for a configured silence."""
    matcher: Matcher | None = None
    environments: frozenset[ServerKey] = frozenset()
    """Listed environments, under any profile."""
    hours: RecurringHours | None = None
    """Hours of a recurring silence, without `at` and `until`."""
    zone: tzinfo | None = None
    """None for this machine's zone."""
    ends: SafeText = EMPTY
    """`recurrence` of a silence whose hours a person ended at `until`; the entry covers nothing."""

    @property
    def text(self) -> SafeText:
        """Query and hours of a recurring silence: `name:mac-* mon-fri 17:00-10:00`."""
        if self.hours is None or self.matcher is None:
            return EMPTY
        return composed(" ".join(filter(None, (self.matcher.query, self.hours.days_text, self.hours.hours_text))))

    @property
    def recurrence(self) -> SafeText:
        """Key of a recurring silence, by query, days and hours."""
        return clean(blake2s(self.text.encode(), digest_size=8).hexdigest())

    def has_begun(self, wall: float) -> bool:
        """Whether a silence that does not recur has begun.

        A clock set far back ends the silence, which would last too long.
        """
        return self.at - _SLACK_MS <= wall

    def holds(self, wall: float) -> bool:
        """Whether a silence that does not recur is in force."""
        return self.has_begun(wall) and wall < self.until

    def covers(self, tracked: TrackedEnvironment, server: SafeText, now: float) -> bool:
        """Whether the silence covers an environment (server's clock, ms)."""
        is_named = (server, tracked.environment.id) in self.environments
        return is_named or (self.matcher is not None and self.matcher.matches(tracked, now))

    def ended(self, wall: WallMs, by: SafeText) -> Silence:
        """Return the file's entry that ends the silence, or the present hours."""
        if self.hours is None:
            return self._replace(until=wall)
        return Silence(_id(self.text, wall, wall), at=wall, until=wall, by=by, ends=self.recurrence)


Silences: TypeAlias = Mapping[SafeText, Silence]

NO_SILENCES: Final[Silences] = {}


def silence_of_query(matcher: Matcher, at: WallMs, lasts: timedelta, note: SafeText, by: SafeText) -> Silence:
    """Return a new silence of a query's environments."""
    until = WallMs(at + lasts / MS)
    return Silence(_id(matcher.query, at, until), at, until, note, by, matcher)


def silence_of_environments(
    keys: Iterable[ServerKey], at: WallMs, lasts: timedelta, note: SafeText, by: SafeText
) -> Silence:
    """Return a new silence of listed environments."""
    until, environments = WallMs(at + lasts / MS), frozenset(keys)
    id_ = _id("\0".join(chain.from_iterable(sorted(environments))), at, until)
    return Silence(id_, at, until, note, by, environments=environments)


def _id(what: str, at: float, until: float) -> SafeText:
    return clean(blake2s(f"{what}\0{at}\0{until}".encode(), digest_size=4).hexdigest())


def recurring_silences(tables: Iterable[tuple[Matcher, RecurringHours]], zone: tzinfo | None) -> tuple[Silence, ...]:
    """Return the silences of the tables `[[silences]]`: `silence-1`, `silence-2` and so on."""
    return tuple(
        Silence(composed(f"silence-{number}"), matcher=matcher, hours=hours, zone=zone)
        for number, (matcher, hours) in enumerate(tables, 1)
    )


class Silenced(NamedTuple):
    """A row's silenced time; silences that touch are a single time."""

    silence: Silence
    """A silence in force, else the last."""
    since: ServerMs
    """The loss, a later start of a person's silence, or now for a row that is up."""
    until: ServerMs
    end: float
    """`until` by the last silence's clock, equal in all processes."""


def counted_from(silenced: Silenced | None, tracked: TrackedEnvironment) -> float | None:
    """Return the end of a silence, when the loss begins to count (server's clock, ms).

    None if the row was no problem when the silence began.
    """
    return silenced.until if silenced is not None and is_problem(tracked, silenced.since) else None


def silenced_time(  # noqa: PLR0913, PLR0917  every kind of silence
    tracked: TrackedEnvironment,
    profile_state: ProfileState,
    silences: Silences,
    recurring: Sequence[Silence],
    wall: WallMs,
    off_at: float | None = None,
) -> Silenced | None:
    """Return a row's last silenced time, which may last on.

    Only a person's silence covers a row that is up. `off_at` is an earlier loss (server's clock, ms): only silences at
    that moment, and silences that touch, count.
    """
    clock, server = profile_state.clock, profile_state.server
    now, is_up = clock.server_time(wall), off_at is None and tracked.verdict.is_up and not tracked.is_flapping
    hours = [] if is_up else [each for each in recurring if each.covers(tracked, server, now)]
    once = [
        (min(clock.server_time(each.at), now), clock.server_time(each.until), each)
        for each in silences.values()
        if each.has_begun(wall) and each.covers(tracked, server, now)
    ]
    if not once and not hours:
        return None
    covering = _Covering(once, hours, silences, clock)
    if off_at is not None or is_up:
        return covering.merged(now if off_at is None else off_at, now)
    off_at = min(went_off_at(tracked, profile_state.limits), now)
    found = covering.merged(off_at, now)
    for begin, _, _ in once:
        later = covering.merged(begin, now) if begin > off_at else None
        if later is not None and (found is None or later.until > found.until):
            found = later
    return found


class _Covering(NamedTuple):
    once: Sequence[tuple[float, float, Silence]]
    """Start, end (server's clock, ms) and silence."""
    hours: Sequence[Silence]
    all: Silences
    clock: ServerClock

    def at(self, moment: float) -> tuple[float, float, Silence] | None:
        """Return the latest end, that end by the silence's clock, and the silence."""
        ends = [(end, float(silence.until), silence) for begin, end, silence in self.once if begin <= moment < end]
        for silence in self.hours:
            if (span := hours_at(silence, moment, self.all, self.clock)) is not None:
                ends.append((span[1], span[1], silence))  # noqa: PERF401  usually none
        return max(ends, key=itemgetter(0), default=None)

    def merged(self, since: float, now: float) -> Silenced | None:
        until, own, last, present = since, since, None, None
        while until - since < _MERGED_MS and (later := self.at(until)) is not None:
            until, own, last = later
            if present is None and until > now:
                present = last
        return None if last is None else Silenced(present or last, ServerMs(since), ServerMs(until), own)


def hours_at(silence: Silence, moment: float, silences: Silences, clock: ServerClock) -> tuple[float, float] | None:
    """Return a recurring silence's hours at a moment, unless a person ended the hours."""
    if silence.hours is None or (span := silence.hours.span_at(moment, silence.zone)) is None:
        return None
    begin, end = span
    for each in silences.values():
        if each.ends and each.ends == silence.recurrence and begin <= (at := clock.server_time(each.until)) < end:
            end = at
    return (begin, end) if moment < end else None


def silences_content(silences: Silences) -> dict[str, dict[str, Any]]:
    """Return a file's content by id; a silence has a query, environments, or the recurring silence that it ends."""
    return {id_: ANY_SILENCE.plain(silence) for id_, silence in silences.items()}


def silences_of(content: Mapping[str, Any], matcher_of: MatcherOf) -> Silences:
    """Return a file's readable silences whose queries this envwatch knows."""
    named = readable(entries_in(content), _silence_codec(matcher_of), []).items()
    found = (silence._replace(id=clean(raw_id, LONGEST_NAME)) for raw_id, silence in named)
    return {silence.id: silence for silence in found}


def _silence_codec(matcher_of: Callable[[str], Any]) -> Codec[Silence]:
    def matcher(plain: object) -> Any:  # noqa: ANN401  what `matcher_of` makes
        query = TEXT.value(plain)
        found = matcher_of(query) if len(query) <= _LONGEST_QUERY else None
        if found is None:
            raise ValueError("no query")
        return found

    codec = record(
        partial(Silence, id=EMPTY, hours=None, zone=None),
        at=CLOCK,
        until=CLOCK,
        note=text_up_to(LONGEST_NOTE),
        by=_NAME,
        matcher=optional(Codec(lambda matcher: matcher.query, matcher)),
        environments=Codec(
            lambda keys: [list(key) for key in sorted(keys)], lambda plain: frozenset(map(_key_of, list_of(plain)))
        ),
        ends=_NAME,
    )

    def value(plain: object) -> Silence:
        silence = codec.value(plain)
        if _NEVER in (silence.at, silence.until):
            raise ValueError("a silence without times")
        if silence.matcher is None and not silence.environments and not silence.ends:
            raise ValueError("a silence of nothing")
        return silence

    return Codec(codec.plain, value)


def _key_of(plain: object) -> ServerKey:
    server, id_ = map(_ID.value, list_of(plain))
    return server, id_


ANY_SILENCE: Final = _silence_codec(lambda query: query)
"""An entry of the file, with the query's text for the matcher."""
