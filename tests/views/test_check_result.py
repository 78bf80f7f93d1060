"""The counts of `check`, the unknown rows, the verdict and the words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, environment, key_of, listed, reading
from support.hostile_fleet import hostile_rows
from support.served_listings import served
from support.tracked_environments import tracked

from envwatch.fleet.alerting.acknowledgements import ack_of
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.alert_state import AlertState
from envwatch.fleet.alerting.losses import Loss
from envwatch.fleet.alerting.silences import silence_of_query
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.tracking import EVERYTHING
from envwatch.fleet.uptime_record import UptimeRecord
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import MonotonicS, WallMs
from envwatch.model.limits import Limits
from envwatch.model.page import environment_of
from envwatch.model.text import clean
from envwatch.views.events.matching import matcher_of
from envwatch.views.output.check_result import (
    CheckResult,
    Metric,
    PluginStatus,
    check_result_of,
    output_of,
    parse_nagios_range,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed

HOUR = timedelta(hours=1)
ZERO = parse_nagios_range("0")


def row(name: str, **changes: Any) -> Environment:
    return environment(f"id-{name}", connectionName=name, **changes)


def offline(name: str, *, seen_s: float = 3_600, **changes: Any) -> Environment:
    wire = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - seen_s * 1000}
    return row(name, **(wire | changes))


UP = row("up")
LATE = row("late", lastHeartbeat=NOW - 60_000)
DOWN = offline("down")
OLD = offline("old", seen_s=2 * 86_400)
UNTIMED = row("untimed", lastHeartbeat=NOW * 1000)
FLEET = [UP, LATE, DOWN, OLD]
BLANK = offline(" ")
_STATE_LABELS = ["offline", "late", "online", "missing", "unknown"]
_ASIDE_LABELS = ["old", "silenced", "notalerting", "replaced", "gone"]


def check_result(
    rows: list[Environment] | Listed,
    of: Metric = Metric.PROBLEMS,
    query: str = "",
    policy: AlertPolicy | None = None,
    at: float = NOW,
    **state: Any,
) -> CheckResult:
    policies = {NO_PROFILE: replace(policy or AlertPolicy(), alert=(policy and policy.alert) or EVERYTHING)}
    outcome = listed(rows) if isinstance(rows, list) else rows
    monitor = replace(Monitor.create({NO_PROFILE: Limits()}, policies), **state)
    monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(at))
    return check_result_of(monitor, of, matcher_of(query), reading(at))


def unreadable(rows: list[Environment], count: int = 1, ids: Sequence[str] = ()) -> Listed:
    outcome = listed(rows)
    snapshot = outcome.snapshot._replace(rejected=count, rejected_ids=frozenset(map(clean, ids)))
    return outcome._replace(snapshot=snapshot)


def names(found: CheckResult) -> list[str]:
    return [name for name, _ in found.named]


def metrics(found: CheckResult) -> Mapping[str, float]:
    return {metric.label: metric.value for metric in found.metrics(None, ZERO)}


def test_problems_are_what_the_alert_policy_finds() -> None:
    found = check_result(FLEET)
    assert names(found) == ["down"]
    text = "1 problem in 4 environments (1 offline, 1 old): down"
    assert found.status_and_text(None, ZERO) == (PluginStatus.CRITICAL, text)
    counts = {"problems": 1, "offline": 1, "late": 1, "online": 1, "old": 1}
    assert {label: value for label, value in metrics(found).items() if value} == counts
    assert [*metrics(found)] == ["problems", *_STATE_LABELS, *_ASIDE_LABELS]
    assert [str(detail) for detail in found.details] == ["down: offline (disconnected), last seen 1h ago"]


def test_a_late_row_alone_is_ok_and_counts_in_the_performance_data() -> None:
    found = check_result([UP, LATE])
    assert found.status_and_text(None, ZERO) == (PluginStatus.OK, "no problem in 2 environments")
    assert (metrics(found)["problems"], metrics(found)["late"]) == (0, 1)
    late = check_result([UP, LATE], Metric.LATE)
    assert late.status_and_text(None, ZERO) == (PluginStatus.CRITICAL, "1 of 2 late: late")
    assert late.details == ["late: late (a ping was missed), last heartbeat 1m ago"]


def test_a_served_listing_that_is_old_says_so_in_the_first_line() -> None:
    recent, old = (check_result(served(listed([UP, DOWN]), age_s), at=NOW + age_s * 1000) for age_s in (15, 50))
    assert recent.text == "1 problem in 2 environments (1 offline): down"
    assert old.text == "1 problem in 2 environments (1 offline, listing 50s old): down"


@pytest.mark.parametrize(
    ("quiet", "word", "label", "off"),
    [
        ({"policy": AlertPolicy(alert=matcher_of("!name:down"))}, "not alerting", "notalerting", 0),
        (
            {"silences": {"1": silence_of_query(matcher_of("name:down"), WallMs(NOW), HOUR, clean(""), clean("me"))}},
            "silenced",
            "silenced",
            0,
        ),
        (
            {"acks": {key_of(DOWN.id): ack_of(tracked(connectionId=None, lastHeartbeat=None), NOW, clean("known"))}},
            "acked",
            "",
            1,
        ),
        ({"policy": AlertPolicy(alert_after=timedelta(hours=2))}, "waiting", "", 1),
    ],
    ids=["policy", "silenced", "acknowledged", "too new"],
)
def test_a_row_that_is_no_problem_is_counted_by_the_word_of_the_dashboard(
    quiet: dict[str, Any], word: str, label: str, off: int
) -> None:
    found = check_result([UP, DOWN], **quiet)
    assert found.status_and_text(None, ZERO) == (PluginStatus.OK, f"no problem in 2 environments (1 {word})")
    assert (metrics(found)["offline"], metrics(found).get(label, 0)) == (off, 1 - off)
    assert names(check_result([UP, DOWN], Metric.OFFLINE, **quiet)) == ["down"] * off
    assert names(check_result([UP, DOWN])) == ["down"]


@pytest.mark.parametrize(("interval_s", "silent_s"), [(5, 240), (30, 240), (60, 230)])
@pytest.mark.parametrize("count", [0, 1])
def test_a_loss_is_a_problem_after_the_silence_that_the_alert_policy_asks_for(
    interval_s: int, silent_s: float, count: int
) -> None:
    rows = [UP, row("lost", lastHeartbeat=NOW - silent_s * 1000 + 1 - count)]
    found = check_result(listed(rows, interval=timedelta(seconds=interval_s)))
    assert (found.count, found.waiting) == (count, 1 - count)


def test_an_expected_name_that_is_not_listed_is_a_problem() -> None:
    policy = AlertPolicy(expect=(clean("up"), clean("build-1")))
    found = check_result([UP], policy=policy)
    assert found.text == "1 problem in 2 environments (1 missing): build-1"
    assert found.details == ["build-1: missing (expected, never listed)"]
    assert names(check_result([UP], Metric.MISSING, policy=policy)) == ["build-1"]


COUNTED = {
    Metric.OFFLINE: ["down"],
    Metric.LATE: ["late"],
    Metric.MISSING: [],
    Metric.UNRESTRICTED: ["free", "older"],
    Metric.BEHIND: ["older"],
}


@pytest.mark.parametrize("of", [of for of in Metric if of not in {Metric.PROBLEMS, Metric.ONLINE}])
def test_other_kinds_count_all_of_them(of: Metric) -> None:
    metadata = {"lettaCodeVersion": "0.30.1"}
    more = [
        row("free", currentMode="unrestricted"),
        row("older", metadata=metadata, currentMode="bypassPermissions"),
        offline("off", currentMode="unrestricted", metadata=metadata, seen_s=9),
    ]
    rows = FLEET if of in (Metric.OFFLINE, Metric.LATE) else [*FLEET, *more]
    result, found = check_result(rows, of), COUNTED[of]
    assert sorted(names(result)) == found
    assert result.text.startswith(f"{len(found)} of {len(rows)} {of}")


def test_of_those_online_the_others_are_named() -> None:
    found = check_result(FLEET, Metric.ONLINE)
    at_least_2 = parse_nagios_range("2:")
    assert found.status_and_text(None, at_least_2) == (PluginStatus.CRITICAL, "1 of 4 online, others: down, old, late")
    labels = [metric.label for metric in found.metrics(None, at_least_2)]
    assert labels == ["online", "offline", "late", "missing", "unknown", *_ASIDE_LABELS]


def test_more_than_three_names_are_counted() -> None:
    found = check_result([offline(f"down-{number}", seen_s=300 + number) for number in range(5)])
    assert found.text == "5 problems in 5 environments (5 offline): down-0, down-1, down-2 and 2 more"
    assert len(found.details) == 5


def test_a_filter_leaves_the_others_out() -> None:
    found = check_result([*FLEET, offline("off", seen_s=300)], query="!name:down")
    assert (names(found), found.total) == (["off"], 4)


@pytest.mark.parametrize("of", [of for of in Metric if of is not Metric.MISSING])
def test_what_cannot_be_judged_may_be_one_more(of: Metric) -> None:
    for outcome, total in ((unreadable([UP]), 2), (listed([UP, UNTIMED]), 2)):
        found = check_result(outcome, of)
        assert (found.unknown, found.total) == (1, total)
        assert len(found.details) >= 1
    found = check_result(unreadable([UP, DOWN], 2, ["env-8"]))
    assert found.status_and_text(None, parse_nagios_range("3")) == (
        PluginStatus.OK,
        "1 problem in 4 environments (1 offline, 2 unknown): down",
    )
    assert found.status_and_text(None, parse_nagios_range("2"))[0] is PluginStatus.UNKNOWN
    assert found.status_and_text(None, ZERO)[0] is PluginStatus.CRITICAL
    assert found.details[0] == "unknown: 2 rows could not be read (env-8 and 1 more)"


YEAR_2020 = 1_577_836_800_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("seen_at", "unknown"),
    [(NOW / 1000, 1), (NOW * 1000, 1), (YEAR_2020 - 1, 1), (YEAR_2020, 0), (NOW + DAY, 0), (NOW + DAY + 1, 1)],
)
def test_a_loss_at_an_impossible_time_may_be_a_problem(seen_at: float, unknown: int) -> None:
    undated = offline("undated", lastSeenAt=seen_at)
    found = check_result([UP, undated])
    assert (found.count, found.unknown, found.total) == (0, unknown, 2)
    sentences = ["unknown: 1 row offline since a time that cannot be true"] if unknown else []
    assert [str(detail) for detail in found.details] == sentences
    status = found.status_and_text(None, ZERO)[0]
    assert status is (PluginStatus.UNKNOWN if unknown else PluginStatus.OK)
    is_old = seen_at == YEAR_2020
    assert names(check_result([UP, undated], Metric.OFFLINE)) == ["undated"] * (not is_old)


@pytest.mark.parametrize(
    ("critical", "status"),
    [("0", PluginStatus.CRITICAL), ("1", PluginStatus.UNKNOWN), ("20", PluginStatus.UNKNOWN), ("21", PluginStatus.OK)],
)
def test_losses_at_impossible_times_are_unknown_where_the_losses_could_decide(
    critical: str, status: PluginStatus
) -> None:
    undated = [offline(f"undated-{number}", lastSeenAt=NOW / 1000) for number in range(20)]
    found = check_result([UP, DOWN, *undated])
    assert found.status_and_text(None, parse_nagios_range(critical)) == (
        status,
        "1 problem in 22 environments (1 offline, 20 unknown): down",
    )


@pytest.mark.parametrize(("silent_s", "count"), [(240, 1), (239.9, 0)])
def test_a_loss_at_an_impossible_time_counts_from_the_silence_in_an_earlier_run(silent_s: float, count: int) -> None:
    undated = offline("undated", lastSeenAt=NOW / 1000)
    loss = Loss(
        event=Event(kind=Kind.OFFLINE, at=NOW, id=undated.id),
        died=Span(NOW, NOW),
        silent_since=MonotonicS(-silent_s),
        noticed_at=MonotonicS(-silent_s),
    )
    monitor = Monitor.create({NO_PROFILE: Limits()}).with_alert_state(
        NO_PROFILE, AlertState(looked_at=WallMs(NOW), online=frozenset(), waiting=(loss,))
    )
    monitor, _ = monitor.apply(NO_PROFILE, listed([UP, undated]), reading())
    found = check_result_of(monitor, Metric.PROBLEMS, EVERYTHING, reading())
    assert (found.count, found.unknown, found.waiting) == (count, 0, 1 - count)


def test_an_acknowledged_loss_at_an_impossible_time_is_no_problem() -> None:
    undated = offline("undated", lastSeenAt=NOW / 1000)
    acks = {key_of(undated.id): ack_of(tracked(connectionId=None, lastHeartbeat=None), NOW, clean("known"))}
    found = check_result([UP, undated], acks=acks)
    assert (found.count, found.unknown, found.acked) == (0, 0, 1)


def test_an_unreadable_row_may_be_any_of_the_expected_ones() -> None:
    policy = AlertPolicy(expect=(clean("up"), clean("build-1"), clean("build-2")))
    found = check_result(unreadable([UP]), Metric.MISSING, policy=policy)
    assert (found.count, found.unknown) == (0, 2)
    assert found.status_and_text(None, ZERO)[0] is PluginStatus.UNKNOWN
    assert found.status_and_text(None, parse_nagios_range("2"))[0] is PluginStatus.OK
    assert found.details[-1] == "unknown: 2 expected names may be among the rows that could not be read"
    assert check_result(unreadable([UP]), policy=policy).unknown == 3


def test_an_empty_listing_proves_nothing_unless_something_is_expected() -> None:
    for of in Metric:
        assert check_result([], of).status_and_text(None, parse_nagios_range("1:"))[0] is PluginStatus.UNKNOWN
    found = check_result([], policy=AlertPolicy(expect=(clean("build-1"),)))
    assert found.status_and_text(None, ZERO) == (
        PluginStatus.CRITICAL,
        "1 problem in 1 environment (1 missing): build-1",
    )


def test_where_a_filter_finds_nothing_only_an_alert_stands() -> None:
    found = check_result([UP], Metric.ONLINE, query="name:other")
    assert found.status_and_text(None, parse_nagios_range("1:")) == (PluginStatus.CRITICAL, "0 of 0 online")
    assert found.status_and_text(None, ZERO) == (PluginStatus.UNKNOWN, "no environment matches the filter")


def test_a_clock_that_is_wrong_is_said() -> None:
    found = check_result(listed([UP], skew=600_000))
    assert found.details == ["this machine's clock is 10m ahead of the server's; ages are by the server's"]


def test_several_profiles_are_one_fleet_whose_names_have_the_profile() -> None:
    home, work = clean("home"), clean("work")
    everything = AlertPolicy(alert=EVERYTHING)
    monitor = Monitor.create({home: Limits(), work: Limits()}, policies={home: everything, work: everything})
    monitor, _ = monitor.apply(home, listed([DOWN]), reading())
    monitor, _ = monitor.apply(work, listed([UP, DOWN]), reading())
    found = check_result_of(monitor, Metric.PROBLEMS, EVERYTHING, reading())
    assert found.text == "2 problems in 3 environments (2 offline): home: down, work: down"


def test_a_hostile_fleet_adds_no_line_and_no_separator() -> None:
    rows = [environment_of(wire) for wire in hostile_rows(NOW)]
    for of in Metric:
        found = check_result(rows, of)
        status, text = found.status_and_text(None, ZERO)
        output = output_of(status, text, found.metrics(None, ZERO), found.details)
        assert output.count("|") == 1
        assert output.replace("\n", "").isprintable()
        lines = output.splitlines()
        assert lines == output.removesuffix("\n").split("\n")
        assert len(lines) <= 1 + len(found.details)


def test_one_whose_name_is_blank_is_named_by_its_id() -> None:
    assert check_result([UP, BLANK]).text == f"1 problem in 2 environments (1 offline): {BLANK.id}"


@pytest.mark.parametrize(("silent_s", "noticed_s", "count"), [(239.9, 239.9, 0), (240, 60, 1), (600, 59.9, 0)])
def test_a_loss_of_another_process_counts_as_in_the_process(silent_s: float, noticed_s: float, count: int) -> None:
    """The row's last sign of life is an hour ago: a silence may have ended since."""
    now = reading()
    loss = Loss(
        event=Event(kind=Kind.OFFLINE, at=NOW, id=DOWN.id),
        died=Span(NOW, NOW),
        silent_since=MonotonicS(now.monotonic - silent_s),
        noticed_at=MonotonicS(now.monotonic - noticed_s),
        incident=clean("inc-1"),
    )
    monitor = Monitor.create({NO_PROFILE: Limits()})
    monitor = monitor.with_alert_state(NO_PROFILE, AlertState(looked_at=WallMs(NOW), waiting=(loss,)))
    monitor, _ = monitor.apply(NO_PROFILE, listed([UP, DOWN]), now)
    result = check_result_of(monitor, Metric.PROBLEMS, EVERYTHING, now)
    assert (result.count, result.waiting) == (count, 1 - count)


@pytest.mark.parametrize(("later_s", "count"), [(59.9, 0), (60, 1), (60.1, 1)])
def test_a_loss_counts_a_minute_after_the_first_listing_without_another_listing(later_s: float, count: int) -> None:
    before = [row(name, lastHeartbeat=NOW - 200_000) for name in ("up", "lost")]
    outcomes = [listed(before, NOW - 200_000), listed([UP, offline("lost", seen_s=200)])]
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(alert=EVERYTHING)})
    for outcome in outcomes:
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    result = check_result_of(monitor, Metric.PROBLEMS, EVERYTHING, reading(NOW + later_s * 1000))
    assert (result.count, result.waiting) == (count, 1 - count)


def test_an_empty_profile_next_to_a_listed_one_hides_no_problem() -> None:
    names = clean("home"), clean("work")
    monitor = Monitor.create(
        dict.fromkeys(names, Limits()), policies=dict.fromkeys(names, AlertPolicy(alert=EVERYTHING))
    )
    for name, rows in zip(names, ([UP, DOWN], []), strict=True):
        monitor, _ = monitor.apply(name, listed(rows), reading())
    result = check_result_of(monitor, Metric.PROBLEMS, EVERYTHING, reading())
    assert (result.is_listing_empty, result.status_and_text(None, ZERO)[0]) == (False, PluginStatus.CRITICAL)
    assert check_result([]).is_listing_empty
    assert not check_result(unreadable([])).is_listing_empty


@pytest.mark.parametrize("has_record", [True, False])
def test_a_check_without_an_uptime_record_says_so(*, has_record: bool) -> None:
    rows = [
        environment("env-1", lastHeartbeat=NOW),
        environment("env-2", connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 3_600_000),
    ]
    monitor = Monitor.create({NO_PROFILE: Limits()})
    if has_record:
        monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord())
    monitor, _ = monitor.apply(NO_PROFILE, listed(rows), reading())
    found = check_result_of(monitor, Metric.PROBLEMS, EVERYTHING, reading())
    if has_record:
        assert found.status_and_text(None, ZERO) == (PluginStatus.OK, "no problem in 2 environments (1 not alerting)")
        assert found.doubts == []
    else:
        text = "1 problem in 2 environments (1 offline, no uptime record): laptop of env-2"
        assert found.status_and_text(None, ZERO) == (PluginStatus.CRITICAL, text)
        assert [doubt.startswith("no uptime record") for doubt in found.doubts] == [True]
