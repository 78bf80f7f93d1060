"""The alert policy: what can need a person. Silences: no alerts until a moment, because of planned work.

Instants are by this machine's wall clock, as a person names the end. `storage` owns the file. A query's test is a
callable: the filter language is in a higher layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2s
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.fleet.alerting.acknowledgements import ServerKey, finite_number, keys_of, note_of
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import went_off_at
from envwatch.fleet.uptime import uptime_text
from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.shared_marks import shared_alerts_of
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.times import MS, moment

if TYPE_CHECKING:
    from datetime import tzinfo

    from envwatch.fleet.alerting.quiet import QuietHours
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.limits import Limits


Test: TypeAlias = "Callable[[TrackedEnvironment, float], bool]"
"""At a moment (server's clock, ms)."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A query as a test, compared by text."""

    query: SafeText
    """The canonical spelling."""
    matches: Test = field(compare=False, repr=False)


EVERYTHING: Final = Matcher(EMPTY, lambda _tracked, _now: True)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """One profile's alert policy."""

    alert: Matcher | None = None
    """These environments need a person; None for the permanent rows."""
    alert_after: timedelta = limits.ALERT_AFTER
    """How long a row must be silent before the loss counts; see `Loss.counts_at`."""
    blind_after: timedelta | None = limits.BLIND_AFTER
    """From blindness to the incident; None for never."""
    expect: tuple[SafeText, ...] = ()
    """Names or device ids that must exist."""
    quiet: tuple[tuple[Matcher, QuietHours], ...] = ()
    zone: tzinfo | None = None
    """Of quiet hours; None for this machine's zone."""

    def silence_needed(self, interval: timedelta) -> timedelta:
        """Return how long a row must be silent: `alert_after`, or less if the poll interval is long."""
        if interval <= limits.SLOW_INTERVAL:
            return self.alert_after
        return min(self.alert_after, max(limits.SLOW_WAIT - interval, timedelta()))

    def decision(  # noqa: PLR0911  one return for each rule
        self, tracked: TrackedEnvironment, word: Word | None, now: float
    ) -> Decision:
        """Return whether losses of an environment need a person, by the first rule that applies.

        `word` is a person's word for the environment. The filters are asked about the moment `now`.
        """
        row = tracked.environment
        if tracked.verdict.presence is Presence.MISSING or row.name in self.expect or row.device_id in self.expect:
            return _EXPECTED
        if word is not None:
            return Decision(word.is_always, Rule.WORD, word)
        if (shared := shared_alerts_of(row)) is not None:
            return _SHARED if shared.counts else _NOT_SHARED
        if row.is_sandbox:
            return _SANDBOX
        if self.alert is not None:
            return _IN_ALERT if self.alert.matches(tracked, now) else _OUTSIDE_ALERT
        if tracked.uptime is None:
            return _MAY_SLEEP if row.may_sleep else _MAY_NOT_SLEEP
        return _PERMANENT if tracked.uptime.is_permanent else _NOT_PERMANENT

    def quiet_end(self, tracked: TrackedEnvironment, fleet_limits: Limits, now: float) -> float | None:
        """Return when the quiet hours ended or will end (server's clock, ms) in which an environment went off.

        `now` is the moment of the filters too. None means up, or off outside quiet hours.
        """
        if not self.quiet or (tracked.verdict.is_up and not tracked.is_flapping):
            return None
        return self.quiet_period_end(tracked, min(went_off_at(tracked, fleet_limits), now), now)

    def quiet_period_end(self, tracked: TrackedEnvironment, off_at: float, now: float) -> float | None:
        """Return the end of an environment's quiet hours that hold at `off_at`, if any."""
        if not self.quiet:
            return None
        from envwatch.fleet.alerting.quiet import quiet_end  # noqa: PLC0415 - only with quiet hours

        return quiet_end((hours for matcher, hours in self.quiet if matcher.matches(tracked, now)), off_at, self.zone)


DEFAULT_POLICY: Final = AlertPolicy()


class Word(NamedTuple):
    """A person's word for one environment: losses need a person always or never."""

    is_always: bool
    at: WallMs
    by: SafeText
    """The user's name on this machine."""


Words: TypeAlias = "Mapping[ServerKey, Word]"

NO_WORDS: Final[Words] = {}


class Rule(StrEnum):
    """The rules that decide whether a loss needs a person; the first that applies decides."""

    EXPECT = "expect"
    WORD = "word"
    SHARED = "serve"
    """The serving host decides for its viewers."""
    SANDBOX = "sandbox"
    ALERT = "alert"
    UPTIME = "uptime"
    SYSTEM = "system"
    """Without a record of the uptime: the system decides whether the machine may sleep."""


class Decision(NamedTuple):
    """Whether losses of an environment need a person, and the rule that decides."""

    counts: bool
    rule: Rule
    word: Word | None = None

    @property
    def is_never(self) -> bool:
        """Whether a person said never."""
        return self.word is not None and not self.counts


_EXPECTED: Final = Decision(counts=True, rule=Rule.EXPECT)
_SHARED, _NOT_SHARED = Decision(counts=True, rule=Rule.SHARED), Decision(counts=False, rule=Rule.SHARED)
_SANDBOX: Final = Decision(counts=False, rule=Rule.SANDBOX)
_IN_ALERT, _OUTSIDE_ALERT = Decision(counts=True, rule=Rule.ALERT), Decision(counts=False, rule=Rule.ALERT)
_PERMANENT, _NOT_PERMANENT = Decision(counts=True, rule=Rule.UPTIME), Decision(counts=False, rule=Rule.UPTIME)
_MAY_NOT_SLEEP, _MAY_SLEEP = Decision(counts=True, rule=Rule.SYSTEM), Decision(counts=False, rule=Rule.SYSTEM)


def decision_text(decision: Decision, tracked: TrackedEnvironment, zone: tzinfo | None = None) -> SafeText:
    """Return the reason of a decision: `up 99 % of 7 days`, `never, by ann, 3 Dec`."""
    if decision.word is not None:
        by = f", by {decision.word.by}" if decision.word.by else ""
        day = moment(decision.word.at, zone)
        return composed(f"{word_text(decision.word)}{by}{'' if day is None else f', {day.day} {day:%b}'}")
    if decision.rule is Rule.UPTIME and tracked.uptime is not None:
        return uptime_text(tracked.uptime)
    if decision.rule is Rule.SHARED and (shared := shared_alerts_of(tracked.environment)) is not None:
        return shared.why
    return _RULE_TEXTS[decision.rule, decision.counts]


def needs_text(decision: Decision, tracked: TrackedEnvironment, zone: tzinfo | None = None) -> SafeText:
    """Return the decision as a sentence: `a loss needs a person: up 99 % of 7 days`."""
    who = "a person" if decision.counts else "nobody"
    return composed(f"a loss needs {who}: {decision_text(decision, tracked, zone)}")


_RULE_TEXTS: Final[Mapping[tuple[Rule, bool], SafeText]] = {
    (Rule.EXPECT, True): clean("expected"),
    (Rule.SHARED, True): clean("the serving host says so"),
    (Rule.SHARED, False): clean("the serving host says so"),
    (Rule.SANDBOX, False): clean("a managed sandbox"),
    (Rule.ALERT, True): clean("`alert` finds the row"),
    (Rule.ALERT, False): clean("`alert` does not find the row"),
    (Rule.SYSTEM, True): clean("no record of the uptime, and no system that sleeps"),
    (Rule.SYSTEM, False): clean("no record of the uptime, and a system that sleeps"),
}


def word_for(words: Words, server: SafeText, id_: SafeText) -> Word | None:
    """Return a person's word for an environment."""
    return words.get((server, id_)) if words else None


def words_of(content: Mapping[str, object]) -> Words:
    """Return a file's words; damaged entries are dropped."""
    return dict(entry for raw in content.values() if (entry := _word_in(raw)) is not None)


def word_entry(key: ServerKey, word: Word) -> dict[str, Any]:
    """Return the value of an entry: `{"server": …, "id": …, "alerts": "always", "at": 123.0, "by": "ann"}`."""
    server, id_ = key
    return {"server": server, "id": id_, "alerts": word_text(word), "at": word.at, "by": word.by}


def word_text(word: Word) -> str:
    """Return `always` or `never`."""
    return "always" if word.is_always else "never"


def _word_in(raw: object) -> tuple[ServerKey, Word] | None:
    if not isinstance(raw, dict):
        return None
    at, alerts = finite_number(raw.get("at")), raw.get("alerts")
    server, id_, by = raw.get("server"), raw.get("id"), raw.get("by", "")
    if at is None or alerts not in {"always", "never"}:
        return None
    if not (isinstance(server, str) and isinstance(id_, str) and isinstance(by, str)):
        return None
    return (clean(server), clean(id_)), Word(alerts == "always", WallMs(at), clean(by, _LONGEST_NAME))


_LONGEST_NAME: Final = 80
_LONGEST_QUERY: Final = 1_000

_SLACK_MS: Final = limits.SILENCE_CLOCK_SLACK / MS


class Silence(NamedTuple):
    """A silence of a query's or listed environments."""

    id: SafeText
    at: WallMs
    until: WallMs
    note: SafeText
    by: SafeText
    """The user's name on this machine."""
    matcher: Matcher | None = None
    """None for `environments`."""
    environments: frozenset[ServerKey] = frozenset()
    """Under any profile; a silence of envwatch 1.0.0 covers every server."""

    def holds(self, wall: float) -> bool:
        """Whether the silence is in force.

        Not if the clock was set back behind the begin: the silence would last longer than asked for.
        """
        return self.at - _SLACK_MS <= wall < self.until

    def covers(self, tracked: TrackedEnvironment, server: SafeText, now: float) -> bool:
        """Whether the silence covers an environment (server's clock, ms)."""
        return not self.environments.isdisjoint(keys_of(server, tracked.environment.id)) or (
            self.matcher is not None and self.matcher.matches(tracked, now)
        )


Silences: TypeAlias = Mapping[SafeText, Silence]

NO_SILENCES: Final[Silences] = {}

MatcherOf: TypeAlias = Callable[[str], Matcher | None]
"""Parses a query, if possible."""


def silence_of_query(matcher: Matcher, at: WallMs, lasts: timedelta, note: SafeText, by: SafeText) -> Silence:
    """Return a new silence of a query's environments."""
    until = WallMs(at + lasts / MS)
    return Silence(id=_id(matcher.query, at, until), matcher=matcher, at=at, until=until, note=note, by=by)


def silence_of_environments(
    keys: Iterable[ServerKey], at: WallMs, lasts: timedelta, note: SafeText, by: SafeText
) -> Silence:
    """Return a new silence of some environments."""
    until, environments = WallMs(at + lasts / MS), frozenset(keys)
    return Silence(
        id=_id("\0".join(chain.from_iterable(sorted(environments))), at, until),
        environments=environments,
        at=at,
        until=until,
        note=note,
        by=by,
    )


def _id(what: str, at: float, until: float) -> SafeText:
    return clean(blake2s(f"{what}\0{at}\0{until}".encode(), digest_size=4).hexdigest())


def silencing(
    silences: Silences, tracked: TrackedEnvironment, server: SafeText, wall: float, now: float
) -> Silence | None:
    """Return an environment's silence, of several the last to end.

    `wall` is this machine's clock, `now` the server's.
    """
    found = [silence for silence in silences.values() if silence.holds(wall) and silence.covers(tracked, server, now)]
    return max(found, key=lambda silence: silence.until, default=None)


def content_of(silences: Silences) -> dict[str, dict[str, Any]]:
    """Return the content of a file: `{"<id>": {"query": …, "at": …, "until": …, "note": …, "by": …}}`.

    In place of `query`, `environments` lists ids, and `servers` the servers in the same order. envwatch 1.0.0 reads
    only the ids.
    """
    return {id_: _content(silence) for id_, silence in silences.items()}


def _content(silence: Silence) -> dict[str, Any]:
    what: dict[str, Any] = {}
    if silence.matcher is not None:
        what["query"] = silence.matcher.query
    else:
        keys = sorted(silence.environments)
        what["environments"] = [id_ for _, id_ in keys]
        if any(server for server, _ in keys):
            what["servers"] = [server for server, _ in keys]
    return what | {"at": silence.at, "until": silence.until, "note": silence.note, "by": silence.by}


def silences_of(content: Mapping[str, object], matcher_of: MatcherOf) -> Silences:
    """Return a file's silences; damaged entries and queries are dropped."""
    found = (_silence_in(clean(raw_id, _LONGEST_NAME), raw, matcher_of) for raw_id, raw in content.items())
    return {silence.id: silence for silence in found if silence is not None}


def _silence_in(id_: SafeText, raw: object, matcher_of: MatcherOf) -> Silence | None:
    if not isinstance(raw, dict):
        return None
    at, until = finite_number(raw.get("at")), finite_number(raw.get("until"))
    query = raw.get("query")
    note, by = raw.get("note", ""), raw.get("by", "")
    if at is None or until is None or not isinstance(note, str) or not isinstance(by, str):
        return None
    matcher = matcher_of(query) if isinstance(query, str) and len(query) <= _LONGEST_QUERY else None
    environments = _environments_in(raw)
    if matcher is None and not environments:
        return None
    return Silence(
        id=id_,
        matcher=matcher,
        environments=environments,
        at=WallMs(at),
        until=WallMs(until),
        note=note_of(note),
        by=clean(by, _LONGEST_NAME),
    )


def _environments_in(raw: Mapping[str, object]) -> frozenset[ServerKey]:
    ids, servers = raw.get("environments"), raw.get("servers")
    if not isinstance(ids, list):
        return frozenset()
    if "servers" not in raw:
        servers = [""] * len(ids)
    if not isinstance(servers, list) or len(servers) != len(ids):
        return frozenset()
    return frozenset(
        (clean(server), clean(id_))
        for server, id_ in zip(servers, ids, strict=True)
        if isinstance(server, str) and isinstance(id_, str)
    )
