"""The alert policy: which machines page when they are lost, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from envwatch.alerts.acknowledgements import of_environment
from envwatch.fleet.uptime import uptime_text
from envwatch.model import limits
from envwatch.model.acks import LONGEST_NAME
from envwatch.model.shared_marks import shared_alerts_of
from envwatch.model.text import SafeText, clean, composed
from envwatch.model.times import moment
from envwatch.stored.codecs import CLOCK, FLAG, record, text_up_to
from envwatch.stored.entries import entries_in, readable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.alerts.silences import Silence
    from envwatch.fleet.tracking import Matcher, TrackedEnvironment
    from envwatch.model.clock import WallMs


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """One profile's alert policy."""

    alert: Matcher | None = None
    """Environments that page; None for the permanent rows."""
    alert_after: timedelta = limits.ALERT_AFTER
    blind_after: timedelta | None = limits.BLIND_AFTER
    """None opens no incident."""
    expect: tuple[SafeText, ...] = ()
    """Names or device ids that must exist."""
    recurring: tuple[Silence, ...] = ()
    """The silences which recur."""
    zone: tzinfo | None = None
    """Zone of `recurring`; None for this machine's zone."""
    recorded: Mapping[SafeText, Decision] | None = None
    """Decisions of a recorded moment by row id, in place of all rules."""

    def silence_needed(self, interval: timedelta) -> timedelta:
        """Return `alert_after`, or less for a long poll interval.

        An `alert_after` above `limits.SLOW_WAIT` is a person's choice, and stays.
        """
        if interval <= limits.SLOW_INTERVAL or self.alert_after > limits.SLOW_WAIT:
            return self.alert_after
        return min(self.alert_after, max(limits.SLOW_WAIT - interval, timedelta()))

    def decision(  # noqa: PLR0911  one return for each rule
        self, tracked: TrackedEnvironment, word: Word | None, now: float
    ) -> Decision:
        """Return the decision of the first rule that applies at `now` (server's clock, ms)."""
        row = tracked.environment
        if self.recorded is not None and row.id in self.recorded:
            return self.recorded[row.id]
        if tracked.verdict.is_missing or row.name in self.expect or row.device_id in self.expect:
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
        if not tracked.uptime.is_known:
            return _FIRST_CONNECTED if tracked.uptime.is_permanent else _FIRST_DAYS
        return _PERMANENT if tracked.uptime.is_permanent else _NOT_PERMANENT


DEFAULT_POLICY: Final = AlertPolicy()


class Word(NamedTuple):
    """A person's override: the machine pages always or never."""

    is_always: bool
    at: WallMs
    by: SafeText
    """User name on this machine."""


Words: TypeAlias = "Mapping[ServerKey, Word]"

NO_WORDS: Final[Words] = {}


class Rule(StrEnum):
    """Rules that decide whether a machine pages."""

    EXPECT = "expect"
    WORD = "override"
    SHARED = "server"
    """The serving host decides for viewers."""
    SANDBOX = "sandbox"
    ALERT = "alert"
    UPTIME = "uptime"
    FIRST_DAYS = "first-days"
    """The rule before an uptime record is long enough."""
    SYSTEM = "system"
    """The rule without an uptime record: no system that sleeps pages."""


BY_RECORD: Final = frozenset({Rule.UPTIME, Rule.FIRST_DAYS})
"""The rules which read the uptime record."""


class Decision(NamedTuple):
    """Whether a machine pages, and the deciding rule."""

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
_FIRST_CONNECTED = Decision(counts=True, rule=Rule.FIRST_DAYS)
_FIRST_DAYS = Decision(counts=False, rule=Rule.FIRST_DAYS)
_MAY_NOT_SLEEP, _MAY_SLEEP = Decision(counts=True, rule=Rule.SYSTEM), Decision(counts=False, rule=Rule.SYSTEM)


def decision_text(decision: Decision, tracked: TrackedEnvironment, zone: tzinfo | None = None) -> SafeText:
    """Return a reason: `up 99 % of 7 days`, `never, by ann, 3 Dec`."""
    if decision.word is not None:
        by = f", by {decision.word.by}" if decision.word.by else ""
        day = moment(decision.word.at, zone)
        return composed(f"{word_text(decision.word)}{by}{'' if day is None else f', {day.day} {day:%b}'}")
    if decision.rule in BY_RECORD and tracked.uptime is not None:
        return uptime_text(tracked.uptime)
    if decision.rule is Rule.SHARED and (shared := shared_alerts_of(tracked.environment)) is not None:
        return shared.why
    return _RULE_TEXTS[decision.rule, decision.counts]


def decision_sentence(decision: Decision, tracked: TrackedEnvironment, zone: tzinfo | None = None) -> SafeText:
    """Return a sentence: `pages: up 99 % of 7 days`."""
    pages = pages_text(is_paging=decision.counts)
    return composed(f"{pages}: {decision_text(decision, tracked, zone)}")


def pages_text(*, is_paging: bool) -> str:
    """Return `pages` or `does not page`."""
    return "pages" if is_paging else "does not page"


_RULE_TEXTS: Final[Mapping[tuple[Rule, bool], SafeText]] = {
    (Rule.EXPECT, True): clean("in `expect`"),
    (Rule.SHARED, True): clean("the server says so"),
    (Rule.SHARED, False): clean("the server says so"),
    (Rule.SANDBOX, False): clean("a managed sandbox"),
    (Rule.ALERT, True): clean("`alert` finds it"),
    (Rule.ALERT, False): clean("`alert` does not find it"),
    (Rule.SYSTEM, True): clean("not a laptop's system"),
    (Rule.SYSTEM, False): clean("a laptop's system"),
}


def word_for(words: Words, server: SafeText, id_: SafeText) -> Word | None:
    """Return a person's override for an environment."""
    return words.get((server, id_)) if words else None


WORD: Final = record(Word, is_always=FLAG, at=CLOCK, by=text_up_to(LONGEST_NAME))
WORD_ENTRY: Final = of_environment(WORD)
"""An entry of the file."""


def policy_words(content: Mapping[str, Any]) -> Words:
    """Return a file's readable overrides."""
    return dict(readable(entries_in(content), WORD_ENTRY, []).values())


def word_text(word: Word) -> str:
    """Return `always` or `never`."""
    return "always" if word.is_always else "never"
