"""Which rows need a person: the order of the rules, a person's word, and the file of words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, key_of, listed, reading
from support.policies import soon
from support.scripted_watch import Night, new_monitor

from envwatch.alerts.alert_policy import (
    NO_WORDS,
    WORD_ENTRY,
    AlertPolicy,
    Decision,
    Rule,
    Word,
    decision_sentence,
    decision_text,
    policy_words,
)
from envwatch.alerts.monitor import Monitor, MonitorChanges
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.presence import DISCONNECTED, NEVER_LISTED, ONLINE
from envwatch.fleet.tracking import EVERYTHING, Matcher, TrackedEnvironment
from envwatch.fleet.uptime import Uptime
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, clean
from envwatch.query.language import parse
from envwatch.query.presentation import MatchContext
from envwatch.views.events.matching import compile_matcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.presence import Verdict

HOUR: Final = 3_600_000.0
ALWAYS, NEVER = (Word(is_always, WallMs(NOW), clean("ann")) for is_always in (True, False))
NOTHING: Final = Matcher(clean("nothing"), lambda _tracked, _now: False)
ALWAYS_UP: Final = Uptime(is_up=True).after(48 * HOUR, is_up=True)
OFTEN_DOWN: Final = Uptime(is_up=True).after(40 * HOUR, is_up=False).after(50 * HOUR, is_up=True)
NEW: Final = Uptime(is_up=True).after(47.9 * HOUR, is_up=True)


def decided(
    policy: AlertPolicy | None = None,
    word: Word | None = None,
    uptime: Uptime | None = None,
    verdict: Verdict = DISCONNECTED,
    **row: Any,
) -> Decision:
    tracked = TrackedEnvironment(environment=environment("env-1", **row), verdict=verdict, uptime=uptime)
    return (policy or AlertPolicy()).decision(tracked, word, NOW)


def served(*, counts: Any, why: Any = "up 88 % of 7 days", share: Any = 0.88) -> dict[str, Any]:
    """Return the fields of a row from `envwatch serve`."""
    return {"envwatch": {"alerts": {"pages": counts, "why": why, "share": share}}}


EXPECTED: Final = AlertPolicy(expect=(clean("web"),), alert=NOTHING)
SANDBOX: Final[dict[str, Any]] = {"deviceId": "sandbox-agent-1"}


@pytest.mark.parametrize(
    ("decision", "counts", "rule"),
    [
        (decided(EXPECTED, NEVER, OFTEN_DOWN, connectionName="web", **SANDBOX), True, Rule.EXPECT),
        (decided(EXPECTED, NEVER, connectionName="x", deviceId="web"), True, Rule.EXPECT),
        (decided(AlertPolicy(), NEVER, verdict=NEVER_LISTED), True, Rule.EXPECT),
        (decided(EXPECTED, NEVER, ALWAYS_UP, connectionName="web-2"), False, Rule.WORD),
        (decided(AlertPolicy(alert=NOTHING), ALWAYS, OFTEN_DOWN, **SANDBOX), True, Rule.WORD),
        (decided(EXPECTED, None, OFTEN_DOWN, connectionName="web", **served(counts=False)), True, Rule.EXPECT),
        (decided(AlertPolicy(), ALWAYS, OFTEN_DOWN, **served(counts=False)), True, Rule.WORD),
        (decided(AlertPolicy(alert=NOTHING), None, OFTEN_DOWN, **SANDBOX, **served(counts=True)), True, Rule.SHARED),
        (decided(AlertPolicy(alert=EVERYTHING), None, ALWAYS_UP, **served(counts=False)), False, Rule.SHARED),
        (decided(AlertPolicy(alert=EVERYTHING), None, ALWAYS_UP, **SANDBOX), False, Rule.SANDBOX),
        (decided(AlertPolicy(alert=NOTHING), None, ALWAYS_UP), False, Rule.ALERT),
        (decided(AlertPolicy(alert=EVERYTHING), None, OFTEN_DOWN, metadata={"os": "darwin"}), True, Rule.ALERT),
        (decided(None, None, ALWAYS_UP, metadata={"os": "darwin"}), True, Rule.UPTIME),
        (decided(None, None, OFTEN_DOWN, metadata={"os": "linux"}), False, Rule.UPTIME),
        (decided(None, None, NEW, metadata={"os": "linux"}), False, Rule.FIRST_DAYS),
        (decided(None, None, NEW._replace(is_first=True)), True, Rule.FIRST_DAYS),
        (decided(None, None, OFTEN_DOWN._replace(is_first=True)), False, Rule.UPTIME),
        (decided(metadata={"os": "linux"}), True, Rule.SYSTEM),
        (decided(metadata={"os": "darwin"}), False, Rule.SYSTEM),
        (decided(metadata={"os": "Win32"}), False, Rule.SYSTEM),
        (decided(metadata={"os": None}), True, Rule.SYSTEM),
    ],
)
def test_the_first_rule_for_a_row_decides(decision: Decision, *, counts: bool, rule: Rule) -> None:
    assert (decision.counts, decision.rule) == (counts, rule)


@pytest.mark.parametrize("verdict", [ONLINE, DISCONNECTED])
def test_the_decision_is_the_same_before_and_after_a_loss(verdict: Verdict) -> None:
    assert decided(uptime=ALWAYS_UP, verdict=verdict).counts
    assert not decided(uptime=OFTEN_DOWN, verdict=verdict).counts


@pytest.mark.parametrize(
    ("decision", "uptime", "text"),
    [
        (decided(uptime=ALWAYS_UP), ALWAYS_UP, "pages: up 100 % of 2 days"),
        (decided(uptime=NEW), NEW, "does not page: watched for 47 of 48 h"),
        (decided(word=NEVER), None, "does not page: never, by ann, 9 Oct"),
        (decided(word=ALWAYS._replace(by=EMPTY)), None, "pages: always, 9 Oct"),
        (decided(**SANDBOX), None, "does not page: a managed sandbox"),
    ],
)
def test_the_reason_of_a_decision_in_words(decision: Decision, uptime: Uptime | None, text: str) -> None:
    tracked = TrackedEnvironment(environment=environment("env-1"), verdict=DISCONNECTED, uptime=uptime)
    assert decision_sentence(decision, tracked) == text
    assert decision_text(decision, tracked) in text


@pytest.mark.parametrize(
    ("uptime", "text"),
    [
        (None, "a laptop's system"),
        (NEW, "watched for 47 of 48 h"),
        (OFTEN_DOWN, "up 77 % of 2 days"),
    ],
)
def test_a_laptop_without_a_record_names_its_system_and_with_one_its_uptime(uptime: Uptime | None, text: str) -> None:
    row = environment("env-1", metadata={"os": "darwin"})
    laptop = TrackedEnvironment(environment=row, verdict=DISCONNECTED, uptime=uptime)
    assert decision_text(AlertPolicy().decision(laptop, None, NOW), laptop) == text


@pytest.mark.parametrize(
    ("fields", "counts", "share", "is_permanent", "text"),
    [
        (served(counts=True, share=0.9), True, 0.9, True, "up 88 % of 7 days"),
        (served(counts=True, share=0.89), True, 0.89, False, "up 88 % of 7 days"),
        (served(counts=False, share=1), False, 1.0, True, "up 88 % of 7 days"),
        (served(counts=False, share=None), False, None, False, "up 88 % of 7 days"),
        (served(counts=True, share=None), True, None, True, "up 88 % of 7 days"),
        (served(counts=True, share=1.01), True, None, True, "up 88 % of 7 days"),
        (served(counts=True, share=True), True, None, True, "up 88 % of 7 days"),
        (served(counts=1), True, 1.0, True, "up 100 % of 2 days"),
        (served(counts=False, why=""), True, 1.0, True, "up 100 % of 2 days"),
        ({"envwatch": {"alerts": [1]}}, True, 1.0, True, "up 100 % of 2 days"),
        ({"envwatch": 1}, True, 1.0, True, "up 100 % of 2 days"),
    ],
)
def test_a_viewer_takes_decision_and_share_of_the_serving_host_if_both_can_be_read(
    fields: dict[str, Any], *, counts: bool, share: float | None, is_permanent: bool, text: str
) -> None:
    tracked = TrackedEnvironment(environment=environment("env-1", **fields), verdict=ONLINE, uptime=ALWAYS_UP)
    decision = AlertPolicy().decision(tracked, None, NOW)
    assert (decision.counts, tracked.up_share, tracked.is_permanent) == (counts, share, is_permanent)
    assert decision_text(decision, tracked) == text


@pytest.mark.parametrize(
    ("uptime", "os", "share", "is_permanent"),
    [
        (ALWAYS_UP, "darwin", 1.0, True),
        (OFTEN_DOWN, "linux", 0.77, False),
        (NEW, "linux", None, False),
        (NEW._replace(is_first=True), "linux", None, True),
        (None, "linux", None, True),
        (None, "darwin", None, False),
    ],
)
def test_the_share_is_known_after_two_watched_days_and_a_row_without_a_record_is_judged_by_its_system(
    uptime: Uptime | None, os: str, share: float | None, *, is_permanent: bool
) -> None:
    row = environment("env-1", metadata={"os": os})
    tracked = TrackedEnvironment(environment=row, verdict=ONLINE, uptime=uptime)
    assert (tracked.up_share and int(tracked.up_share * 100) / 100, tracked.is_permanent) == (share, is_permanent)


WORDS = st.dictionaries(
    st.tuples(st.text(max_size=9).map(clean), st.text(min_size=1, max_size=9).map(clean)),
    st.builds(Word, st.booleans(), st.floats(0, 4e12).map(WallMs), st.text(max_size=9).map(clean)),
)


@given(WORDS)
def test_words_survive_the_file(words: dict[Any, Word]) -> None:
    assert policy_words({str(number): WORD_ENTRY.plain(each) for number, each in enumerate(words.items())}) == words


GOOD: Final = WORD_ENTRY.plain(((clean("s"), clean("e")), ALWAYS))


@pytest.mark.parametrize(
    "damage",
    [
        {"is_always": "perhaps"},
        {"is_always": None},
        {"at": "noon"},
        {"at": None},
        {"id": 3},
        {"server": None},
        {"by": []},
    ],
)
def test_a_damaged_word_is_dropped_alone(damage: dict[str, Any]) -> None:
    assert policy_words({"bad": GOOD | damage, "worse": 3, "good": GOOD}) == {("s", "e"): ALWAYS}


@dataclass
class Spoken(Night):
    """A night over two rows and the words about the first row, `a`."""

    names: Sequence[str] = ("a", "b")
    kinds: list[Kind] = field(default_factory=list)
    """The events of words."""

    def say(self, word: Word | None) -> Spoken:
        words = NO_WORDS if word is None else {key_of("a"): word}
        monitor, events = self.monitor.with_words(words, self.clocks)
        self.kinds += [event.kind for event in events]
        return self.step(monitor, MonitorChanges(self.clocks, events=events))


def asked() -> Spoken:
    return Spoken(monitor=new_monitor()).poll()


def not_asked() -> Spoken:
    """Return a night whose alert setting finds no row."""
    return Spoken(monitor=new_monitor(policies=soon(alert=NOTHING))).poll()


def test_never_ends_the_incident_of_a_row() -> None:
    one = asked().hold(100, "a")
    assert one.sizes == ([1], [])
    one.say(NEVER).poll("a")
    assert ([each.ended_by for each in one.resolved], one.kinds) == (["set to never by ann"], [Kind.DOES_NOT_PAGE])
    assert one.hold(100).hold(100, "a").sizes == ([1], [1])


def test_a_word_does_not_end_an_incident_of_two_rows_whose_other_row_is_back() -> None:
    one = asked().hold(100, "a", "b")
    assert one.sizes == ([2], [])
    assert [each.ended_by for each in one.say(NEVER).hold(100, "a").resolved] == [None]


def test_always_makes_an_offline_row_lost_at_this_moment() -> None:
    one = not_asked().hold(1_000, "a")
    assert one.sizes == ([], [])
    one.say(ALWAYS).poll("a")
    assert (one.sizes, one.kinds) == (([], []), [Kind.PAGES])
    assert one.hold(100, "a").hold(100).sizes == ([1], [1])
    assert one.resolved[0].ended_by is None


@pytest.mark.parametrize("names", [("a", "b"), ("a",)])
def test_always_between_two_runs_makes_an_offline_row_lost_in_the_later_run(names: Sequence[str]) -> None:
    one = Spoken(names, monitor=new_monitor()).poll().say(NEVER).hold(100, "a")
    always = Word(is_always=True, at=WallMs(one.at + 1_000), by=clean("ann"))
    later = one.restarted(60).say(always).poll("a")
    assert (one.sizes, later.sizes) == (([], []), ([], []))
    assert later.hold(100, "a").sizes == ([1], [])
    assert later.restarted(60).say(always).hold(100, "a").sizes == ([], []), "told once"


def test_always_of_an_earlier_run_tells_no_row_off_again() -> None:
    one = asked().say(ALWAYS).hold(100, "a").ack("a")
    assert one.restarted(60).say(ALWAYS).hold(100, "a").sizes == ([], [])
    assert Spoken(["a", "b"], monitor=new_monitor()).say(ALWAYS).poll("a").restarted(60).say(ALWAYS).hold(
        500, "a"
    ).sizes == ([], [])


def test_a_word_without_an_effect_gives_no_event_and_a_withdrawn_word_leaves_the_row_to_the_next_rule() -> None:
    assert asked().say(ALWAYS).say(ALWAYS).say(None).kinds == []
    one = not_asked().say(ALWAYS).say(None).hold(500, "a")
    assert (one.sizes, one.kinds) == (([], []), [Kind.PAGES, Kind.DOES_NOT_PAGE])


@pytest.mark.parametrize(
    ("row", "opens"),
    [
        ({"deviceId": "sandbox-"}, 0),
        ({"deviceId": "sandbox"}, 1),
        ({"listenerInstanceId": "sandbox:"}, 0),
        ({"listenerInstanceId": "sandbox"}, 1),
        ({"listenerInstanceId": None}, 1),
        ({"deviceId": "sandbox:1"}, 1),
        ({"listenerInstanceId": "sandbox-1"}, 1),
    ],
)
def test_the_end_of_a_managed_sandbox_opens_nothing(row: dict[str, Any], opens: int) -> None:
    one = Night([])
    for is_up in (True, *[False] * 20):
        link = {} if is_up else {"connectionId": None}
        one.later(5).show([environment("a", **{"lastHeartbeat": one.at if is_up else None} | link | row)])
    assert len(one.opened) == opens


def test_filters_find_machines_by_policy_and_by_a_page_due_now() -> None:
    policies = {NO_PROFILE: AlertPolicy(alert=compile_matcher("name:web-*"))}
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=policies)
    rows = [
        environment("on", connectionName="web-1", lastHeartbeat=NOW),
        environment("off", connectionName="web-2", connectionId=None),
        environment("laptop", connectionName="ann", connectionId=None),
    ]
    monitor, _ = monitor.apply(NO_PROFILE, listed(rows), reading())
    context = MatchContext(NOW, monitor.judge(reading()), NO_PROFILE)

    def found(query: str) -> set[str]:
        test = parse(query).test(context, ())
        return {row.environment.id for row in monitor.fleet.environments if test(row)}

    assert (found("pages:yes"), found("pages:no")) == ({"on", "off"}, {"laptop"})
    assert (found("paging:yes"), found("paging:no")) == ({"off"}, {"on", "laptop"})


def test_an_expected_missing_row_pages_outside_the_query_too() -> None:
    policy = AlertPolicy(alert=compile_matcher("!name:nas"), expect=(clean("nas"),))
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy})
    monitor, _ = monitor.apply(NO_PROFILE, listed([environment("env-1", connectionName="web")]), reading())
    (nas,) = [each for each in monitor.fleet.environments if each.environment.name == "nas"]
    assert monitor.judge(reading()).is_alerting(nas)


@pytest.mark.parametrize(
    ("alert", "has_record", "is_judged"),
    [(None, False, True), (None, True, False), (EVERYTHING, False, False), (EVERYTHING, True, False)],
)
def test_a_profile_without_setting_and_record_is_judged_by_the_system(
    alert: Matcher | None, *, has_record: bool, is_judged: bool
) -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(alert=alert)})
    if has_record:
        monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord())
    monitor, _ = monitor.apply(NO_PROFILE, listed([environment("env-1")]), reading())
    assert monitor.judge(reading()).is_judged_by_system(NO_PROFILE) is is_judged
