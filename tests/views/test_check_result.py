"""The counts of `check`, unknown rows, verdict and words; the plugin's output and ranges by the guidelines alone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.builders import NOW, environment, key_of, listed, reading, served
from support.hostile_fleet import WEAPONS
from support.tracked_environments import tracked

from envwatch.alerts.acknowledgements import ack_of, blindness_ack
from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.alert_state import AlertState
from envwatch.alerts.losses import Loss
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import silence_of_query
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.last_run import LastRun
from envwatch.fleet.tracking import EVERYTHING
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import MonotonicS, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.views.events.matching import compile_matcher
from envwatch.views.output.check_result import (
    CheckResult,
    Metric,
    PerformanceDatum,
    PluginStatus,
    check_listing,
    output_of,
    parse_nagios_range,
    plugin_status,
)
from envwatch.views.table.block_text import counts_text

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
_STATE_LABELS = ["on", "late", "off", "gone", "unknown"]
_ASIDE_LABELS = ["old", "silenced", "notpaging", "replaced"]


def check_result(
    rows: list[Environment] | Listed,
    of: Metric = Metric.PAGING,
    query: str = "",
    policy: AlertPolicy | None = None,
    at: float = NOW,
    **state: Any,
) -> CheckResult:
    policies = {NO_PROFILE: replace(policy or AlertPolicy(), alert=(policy and policy.alert) or EVERYTHING)}
    outcome = listed(rows) if isinstance(rows, list) else rows
    monitor = replace(Monitor.create({NO_PROFILE: Limits()}, policies), **state)
    monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(at))
    return check_listing(monitor, of, compile_matcher(query), reading(at))


def unreadable(rows: list[Environment], count: int = 1, ids: Sequence[str] = ()) -> Listed:
    outcome = listed(rows)
    snapshot = outcome.snapshot._replace(rejected=count, rejected_ids=frozenset(map(clean, ids)))
    return outcome._replace(snapshot=snapshot)


def names(found: CheckResult) -> list[str]:
    return [name for name, _ in found.named]


def metrics(found: CheckResult) -> Mapping[str, float]:
    return {metric.label: metric.value for metric in found.metrics(None, ZERO)}


def test_the_alert_policy_finds_the_problems_and_an_old_listing_has_its_age() -> None:
    found = check_result(FLEET)
    assert names(found) == ["down"]
    text = "1 of 4 machines paging (1 off, 1 old): down"
    assert found.status_and_text(None, ZERO) == (PluginStatus.CRITICAL, text)
    counts = {"paging": 1, "off": 1, "late": 1, "on": 1, "old": 1}
    assert {label: value for label, value in metrics(found).items() if value} == counts
    assert [*metrics(found)] == ["paging", *_STATE_LABELS, *_ASIDE_LABELS]
    assert [str(detail) for detail in found.details] == ["down: off (disconnected), last seen 1h ago"]
    recent, old = (check_result(served(listed([UP, DOWN]), age_s), at=NOW + age_s * 1000) for age_s in (15, 50))
    assert recent.text == "1 of 2 machines paging (1 off): down"
    assert old.text == "1 of 2 machines paging (1 off, data 50s old): down"


def silent(count: int, since_s: float) -> list[Environment]:
    """Return connected rows whose last heartbeats are within 25 s."""
    beats = (NOW - since_s * 1000 - number % 6 * 5_000 for number in range(count))
    return [row(f"silent-{number}", lastHeartbeat=beat, lastSeenAt=beat) for number, beat in enumerate(beats)]


@pytest.mark.parametrize(
    ("since_s", "status", "text"),
    [
        (
            300,
            PluginStatus.CRITICAL,
            "none of 12 machines paging (1 platform, 12 unknown): no heartbeat from any of 12 machines since 08:48",
        ),
        (299, PluginStatus.UNKNOWN, "none of 12 machines paging (12 unknown)"),
    ],
)
def test_a_stall_is_one_term_in_the_words_of_its_incident(since_s: float, status: PluginStatus, text: str) -> None:
    found = check_result(silent(12, since_s), policy=AlertPolicy(zone=UTC))
    assert found.status_and_text(None, ZERO) == (status, text)
    assert (metrics(found)["off"], metrics(found)["unknown"]) == (0, 12)
    assert len(found.details) == 1, "a machine is accused"
    line = counts_text(found.block, ascii_only=False, has_online=True)
    assert line == f"●0 ?12{' 1 platform' if status is PluginStatus.CRITICAL else ''}"


def test_an_acknowledged_stall_is_no_problem() -> None:
    acks = {(EMPTY, EMPTY): blindness_ack(NOW, EMPTY)}
    found = check_result(silent(12, 600), acks=acks)
    assert (found.count, found.acked, found.unknown) == (0, 1, 12)
    assert counts_text(found.block, ascii_only=False, has_online=True) == "●0 ?12"


def test_nine_silent_rows_and_twelve_next_to_a_row_that_beats_are_problems_each() -> None:
    assert check_result(silent(9, 600)).count == 9
    assert check_result([*silent(12, 600), UP]).count == 12


def test_a_late_row_alone_is_ok_and_counts_in_the_performance_data() -> None:
    found = check_result([UP, LATE])
    assert found.status_and_text(None, ZERO) == (PluginStatus.OK, "none of 2 machines paging")
    assert (metrics(found)["paging"], metrics(found)["late"]) == (0, 1)
    late = check_result([UP, LATE], Metric.LATE)
    assert late.status_and_text(None, ZERO) == (PluginStatus.CRITICAL, "1 of 2 late: late")
    assert late.details == ["late: late (a ping was missed), last heartbeat 1m ago"]


@pytest.mark.parametrize(
    ("quiet", "word", "label", "off"),
    [
        ({"policy": AlertPolicy(alert=compile_matcher("!name:down"))}, "not paging", "notpaging", 0),
        (
            {
                "silences": {
                    "1": silence_of_query(compile_matcher("name:down"), WallMs(NOW), HOUR, clean(""), clean("me"))
                }
            },
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
def test_a_row_without_a_problem_is_counted_by_the_word_of_the_dashboard(
    quiet: dict[str, Any], word: str, label: str, off: int
) -> None:
    found = check_result([UP, DOWN], **quiet)
    assert found.status_and_text(None, ZERO) == (PluginStatus.OK, f"none of 2 machines paging (1 {word})")
    assert (metrics(found)["off"], metrics(found).get(label, 0)) == (off, 1 - off)
    assert names(check_result([UP, DOWN], Metric.OFF, **quiet)) == ["down"] * off
    assert names(check_result([UP, DOWN])) == ["down"]


def test_a_machine_acknowledged_and_silenced_is_counted_once() -> None:
    silence = silence_of_query(compile_matcher("name:down"), WallMs(NOW), HOUR, clean(""), clean("me"))
    ack = ack_of(tracked(connectionId=None, lastHeartbeat=None), NOW, clean("known"))
    found = check_result([UP, DOWN], silences={"1": silence}, acks={key_of(DOWN.id): ack})
    assert found.text == "none of 2 machines paging (1 silenced)"


def test_an_expected_name_without_a_row_is_a_problem() -> None:
    policy = AlertPolicy(expect=(clean("up"), clean("build-1")))
    found = check_result([UP], policy=policy)
    assert found.text == "1 of 2 machines paging (1 off): build-1"
    assert found.details == ["build-1: off (never seen)"]
    assert names(check_result([UP], Metric.OFF, policy=policy)) == ["build-1"]


COUNTED = {
    Metric.OFF: ["down"],
    Metric.LATE: ["late"],
    Metric.UNRESTRICTED: ["free", "older"],
    Metric.BEHIND: ["older"],
}


@pytest.mark.parametrize("of", [of for of in Metric if of not in {Metric.PAGING, Metric.ON}])
def test_other_kinds_count_all_of_them(of: Metric) -> None:
    metadata = {"lettaCodeVersion": "0.30.1"}
    more = [
        row("free", currentMode="unrestricted"),
        row("older", metadata=metadata, currentMode="bypassPermissions"),
        offline("off", currentMode="unrestricted", metadata=metadata, seen_s=9),
    ]
    rows = FLEET if of in (Metric.OFF, Metric.LATE) else [*FLEET, *more]
    result, found = check_result(rows, of), COUNTED[of]
    assert sorted(names(result)) == found
    assert result.text.startswith(f"{len(found)} of {len(rows)} {of}")


def test_three_names_are_told_of_the_others_if_online_rows_are_counted() -> None:
    found = check_result(FLEET, Metric.ON)
    at_least_2 = parse_nagios_range("2:")
    assert found.status_and_text(None, at_least_2) == (PluginStatus.CRITICAL, "1 of 4 on, others: down, old, late")
    labels = [metric.label for metric in found.metrics(None, at_least_2)]
    assert labels == ["on", *(label for label in _STATE_LABELS if label != "on"), *_ASIDE_LABELS]
    found = check_result([offline(f"down-{number}", seen_s=300 + number) for number in range(5)])
    assert found.text == "5 of 5 machines paging (5 off): down-0, down-1, down-2 and 2 more"
    assert len(found.details) == 5
    assert check_result([UP, BLANK]).text == f"1 of 2 machines paging (1 off): {BLANK.id}"


def test_a_filter_leaves_the_others_out_and_without_a_match_only_an_alert_stands() -> None:
    found = check_result([*FLEET, offline("off", seen_s=300)], query="!name:down")
    assert (names(found), found.total) == (["off"], 4)
    found = check_result([UP], Metric.ON, query="name:other")
    assert found.status_and_text(None, parse_nagios_range("1:")) == (PluginStatus.CRITICAL, "0 of 0 on")
    assert found.status_and_text(None, ZERO) == (PluginStatus.UNKNOWN, "no machine matches the filter")


@pytest.mark.parametrize("of", [of for of in Metric if of is not Metric.OFF])
def test_an_unreadable_or_untimed_row_may_be_one_more(of: Metric) -> None:
    for outcome, total in ((unreadable([UP]), 2), (listed([UP, UNTIMED]), 2)):
        found = check_result(outcome, of)
        assert (found.unknown, found.total) == (1, total)
        assert len(found.details) >= 1
    found = check_result(unreadable([UP, DOWN], 2, ["env-8"]))
    assert found.status_and_text(None, parse_nagios_range("3")) == (
        PluginStatus.OK,
        "1 of 4 machines paging (1 off, 2 unknown): down",
    )
    assert found.status_and_text(None, parse_nagios_range("2"))[0] is PluginStatus.UNKNOWN
    assert found.status_and_text(None, ZERO)[0] is PluginStatus.CRITICAL
    assert found.details[0] == "unknown: 2 machines could not be read (env-8 and 1 more)"


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
    sentences = ["unknown: 1 machine offline since a time that cannot be true"] if unknown else []
    assert [str(detail) for detail in found.details] == sentences
    status = found.status_and_text(None, ZERO)[0]
    assert status is (PluginStatus.UNKNOWN if unknown else PluginStatus.OK)
    is_old = seen_at == YEAR_2020
    assert names(check_result([UP, undated], Metric.OFF)) == ["undated"] * (not is_old)


def test_an_acknowledged_loss_at_an_impossible_time_is_no_problem() -> None:
    undated = offline("undated", lastSeenAt=NOW / 1000)
    acks = {key_of(undated.id): ack_of(tracked(connectionId=None, lastHeartbeat=None), NOW, clean("known"))}
    found = check_result([UP, undated], acks=acks)
    assert (found.count, found.unknown, found.acked) == (0, 0, 1)


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
        "1 of 22 machines paging (1 off, 20 unknown): down",
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
        NO_PROFILE, AlertState(last_run=LastRun(WallMs(NOW)), waiting=(loss,))
    )
    monitor, _ = monitor.apply(NO_PROFILE, listed([UP, undated]), reading())
    found = check_listing(monitor, Metric.PAGING, EVERYTHING, reading())
    assert (found.count, found.unknown, found.waiting) == (count, 0, 1 - count)


def test_an_unreadable_row_may_be_any_of_the_expected_ones() -> None:
    policy = AlertPolicy(expect=(clean("up"), clean("build-1"), clean("build-2")))
    found = check_result(unreadable([UP]), Metric.OFF, policy=policy)
    assert (found.count, found.unknown) == (0, 3)
    assert found.status_and_text(None, ZERO)[0] is PluginStatus.UNKNOWN
    assert found.status_and_text(None, parse_nagios_range("3"))[0] is PluginStatus.OK
    assert found.details[-1] == "unknown: 2 expected names may be among the machines that could not be read"
    assert check_result(unreadable([UP]), policy=policy).unknown == 3


def test_an_empty_listing_proves_nothing_unless_something_is_expected() -> None:
    for of in Metric:
        assert check_result([], of).status_and_text(None, parse_nagios_range("1:"))[0] is PluginStatus.UNKNOWN
    found = check_result([], policy=AlertPolicy(expect=(clean("build-1"),)))
    assert found.status_and_text(None, ZERO) == (
        PluginStatus.CRITICAL,
        "1 of 1 machine paging (1 off): build-1",
    )


def test_a_wrong_clock_is_a_detail() -> None:
    found = check_result(listed([UP], skew=600_000))
    assert found.details == ["this machine's clock is 10m ahead of the server's; ages are by the server's"]


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
    monitor = monitor.with_alert_state(NO_PROFILE, AlertState(last_run=LastRun(WallMs(NOW)), waiting=(loss,)))
    monitor, _ = monitor.apply(NO_PROFILE, listed([UP, DOWN]), now)
    result = check_listing(monitor, Metric.PAGING, EVERYTHING, now)
    assert (result.count, result.waiting) == (count, 1 - count)


@pytest.mark.parametrize(("later_s", "count"), [(59.9, 0), (60, 1), (60.1, 1)])
def test_a_loss_counts_a_minute_after_the_first_listing_without_another_listing(later_s: float, count: int) -> None:
    before = [row(name, lastHeartbeat=NOW - 200_000) for name in ("up", "lost")]
    outcomes = [listed(before, NOW - 200_000), listed([UP, offline("lost", seen_s=200)])]
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(alert=EVERYTHING)})
    for outcome in outcomes:
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.ended)
    result = check_listing(monitor, Metric.PAGING, EVERYTHING, reading(NOW + later_s * 1000))
    assert (result.count, result.waiting) == (count, 1 - count)


def test_several_profiles_are_one_fleet_and_an_empty_profile_hides_no_problem() -> None:
    names = clean("home"), clean("work"), clean("none")
    monitor = Monitor.create(
        dict.fromkeys(names, Limits()), policies=dict.fromkeys(names, AlertPolicy(alert=EVERYTHING))
    )
    for name, rows in zip(names, ([DOWN], [UP, DOWN], []), strict=True):
        monitor, _ = monitor.apply(name, listed(rows), reading())
    result = check_listing(monitor, Metric.PAGING, EVERYTHING, reading())
    assert result.status_and_text(None, ZERO) == (
        PluginStatus.CRITICAL,
        "2 of 3 machines paging (2 off): home: down, work: down",
    )
    assert not result.is_listing_empty
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
    found = check_listing(monitor, Metric.PAGING, EVERYTHING, reading())
    if has_record:
        assert found.status_and_text(None, ZERO) == (PluginStatus.OK, "none of 2 machines paging (1 not paging)")
        assert found.doubts == []
    else:
        text = "1 of 2 machines paging (1 off, no uptime record): laptop of env-2"
        assert found.status_and_text(None, ZERO) == (PluginStatus.CRITICAL, text)
        assert [doubt.startswith("no uptime record") for doubt in found.doubts] == [True]


def test_a_check_of_rows_of_a_serving_host_needs_no_uptime_record() -> None:
    rows = [
        environment("env-1", lastHeartbeat=NOW, envwatch={"alerts": {"pages": True, "why": "expected", "share": None}})
    ]
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, served(listed(rows), 0), reading())
    found = check_listing(monitor, Metric.PAGING, EVERYTHING, reading())
    assert found.status_and_text(None, ZERO) == (PluginStatus.OK, "none of 1 machine paging")


# The plugin's output.


RANGES = ("10", "10:", "~:10", "10:20", "@10:20", "0", "@0:0", "~:", "0.5:2.")


class Item(NamedTuple):
    value: str
    unit: str
    warning: str
    critical: str
    least: str
    greatest: str


def performance_data_of(text: str) -> dict[str, Item]:
    """Parse `'label'=value[UOM];[warn];[crit];[min];[max]`, separated by spaces.

    Quotes around a label are optional, but required around spaces; a quote in a label is doubled. Value, min and max
    are of the class [-0-9.], trailing semicolons may be dropped.
    """
    items = {}
    rest = text.strip()
    while rest:
        match = re.match(
            r"(?:'((?:[^']|'')*)'|([^ '=]+))=(-?[0-9.]+)(s|us|ms|%|[KMGT]?B|c|)((?:;[^ ;]*){0,4})(?: +|$)", rest
        )
        assert match is not None, rest
        label = (match[1] or "").replace("''", "'") or match[2]
        assert label not in items
        fields = [*match[5].removeprefix(";").split(";"), "", "", "", ""]
        assert all(re.fullmatch(r"(?:-?[0-9.]+)?", field) for field in fields[2:4])
        items[label] = Item(match[3], match[4], *fields[:4])
        rest = rest[match.end() :]
    return items


def parsed(output: str) -> tuple[str, dict[str, Item], list[str]]:
    assert output.endswith("\n")
    first, *others = output.removesuffix("\n").split("\n")
    text, _, performance = first.partition("|")
    assert not [line for line in (performance, *others) if "|" in line]
    return text.strip(), performance_data_of(performance), others


texts = st.one_of(st.text(), st.sampled_from(WEAPONS), st.text(alphabet="|a\n'=; é漢\u0301")).map(clean)
data = st.builds(
    PerformanceDatum,
    label=st.sampled_from(("paging", "offline", "time")),
    value=st.one_of(st.integers(0, 10**7), st.floats(0, 600)),
    unit=st.sampled_from(("", "s")),
    warning=st.none() | st.sampled_from(RANGES).map(parse_nagios_range),
    critical=st.none() | st.sampled_from(RANGES).map(parse_nagios_range),
    greatest=st.integers(0, 10**7),
)


@given(
    status=st.sampled_from(PluginStatus),
    text=texts,
    written=st.lists(data, unique_by=lambda metric: metric.label),
    details=st.lists(texts, max_size=80),
)
def test_for_any_names_the_data_is_read_back_and_each_text_is_one_line(
    status: PluginStatus, text: SafeText, written: list[PerformanceDatum], details: list[SafeText]
) -> None:
    output = output_of(status, text, written, details)
    assert output.replace("\n", "").isprintable()
    assert len(output.encode()) <= 4096
    first, items, others = parsed(output)
    assert first.startswith(f"ENVWATCH {status.name} -")
    assert list(items) == [metric.label for metric in written]
    for metric, item in zip(written, items.values(), strict=True):
        assert float(item.value) == pytest.approx(metric.value, abs=0.0005)
        if isinstance(metric.value, int):
            assert item.value == str(metric.value)
        assert (item.unit, item.least, int(item.greatest)) == (metric.unit, "0", metric.greatest)
        ranges = [each.text if each else "" for each in (metric.warning, metric.critical)]
        assert [item.warning, item.critical] == ranges
        assert all(parse_nagios_range(each).text == each for each in ranges if each)
    rest = re.fullmatch("and ([0-9,]+) more", others[-1]) if others else None
    left_out = int(rest[1].replace(",", "")) - 1 if rest else 0  # the line with the rest does not count
    assert len(others) + left_out == len(details)


def test_the_line_has_the_form_of_the_guidelines() -> None:
    counted = PerformanceDatum(
        label="offline", value=5, warning=parse_nagios_range("3"), critical=parse_nagios_range("10"), greatest=47
    )
    took = PerformanceDatum(label="time", value=0.2149, unit="s", greatest=10)
    output = output_of(PluginStatus.WARNING, clean("5 of 47 offline: a|b"), [counted, took], [clean("a|b: offline")])
    assert output == (
        "ENVWATCH WARNING - 5 of 47 offline: a/b | offline=5;3;10;0;47 time=0.215s;;;0;10\na/b: offline\n"
    )
    assert output_of(PluginStatus.UNKNOWN, clean("timeout")) == "ENVWATCH UNKNOWN - timeout\n", "a failure"


def test_a_text_has_400_cells_and_a_detail_has_200() -> None:
    first, whole, cut = output_of(
        PluginStatus.OK, clean("x" * 401), details=[clean("a" * 200), clean("b" * 201)]
    ).splitlines()
    assert first == f"ENVWATCH OK - {'x' * 399}…"
    assert (whole, cut) == ("a" * 200, f"{'b' * 199}…")
    assert output_of(PluginStatus.OK, clean("x" * 400)) == f"ENVWATCH OK - {'x' * 400}\n"


@pytest.mark.parametrize(("last", "rest"), [(48, []), (49, ["and 1 more"])])
def test_details_leave_room_for_the_count_of_the_rest(last: int, rest: list[str]) -> None:
    details = [clean("a" * 199)] * 20 + [clean("b" * last)]
    _, *shown = output_of(PluginStatus.OK, clean("t"), details=details).splitlines()
    assert shown == (details[:20] + rest if rest else details)


@pytest.mark.parametrize(
    ("value", "warning", "critical", "status"),
    [
        (3, "3", "10", PluginStatus.OK),
        (4, "3", "10", PluginStatus.WARNING),
        (10, "3", "10", PluginStatus.WARNING),
        (11, "3", "10", PluginStatus.CRITICAL),
        (11, None, "10", PluginStatus.CRITICAL),
        (11, "3", None, PluginStatus.WARNING),
        (11, None, None, PluginStatus.OK),
        (2, None, "3:", PluginStatus.CRITICAL),
        (3, None, "3:", PluginStatus.OK),
    ],
)
def test_critical_comes_before_warning(
    value: int, warning: str | None, critical: str | None, status: PluginStatus
) -> None:
    assert (
        plugin_status([value], *(None if text is None else parse_nagios_range(text) for text in (warning, critical)))
        is status
    )


def test_a_doubt_hides_no_alert_and_makes_none() -> None:
    for low, more, warning, critical in product(range(5), range(5), ("0", "2", "@1:1"), ("1", "3", "2:")):
        ranges = parse_nagios_range(warning), parse_nagios_range(critical)
        certain = plugin_status(range(low, low + more + 1), *ranges)
        each = [plugin_status([value], *ranges) for value in range(low, low + more + 1)]
        if certain is PluginStatus.UNKNOWN:
            assert PluginStatus.OK in each
            assert max(each) > PluginStatus.OK
        else:
            assert certain == min(each)
            assert certain is not PluginStatus.OK or set(each) == {PluginStatus.OK}


# Ranges.


NUMBERS = st.decimals(-1_000_000, 1_000_000, places=3).map(lambda number: f"{number:f}")
VALUES = st.floats(-2_000_000, 2_000_000)


def alerting(text: str, *values: float) -> list[bool]:
    return [parse_nagios_range(text).alerts(value) for value in values]


def test_the_guidelines_examples() -> None:
    assert alerting("10", -0.001, 0, 10, 10.001) == [True, False, False, True]  # < 0 or > 10
    assert alerting("10:", 9.999, 10, inf) == [True, False, False]  # < 10
    assert alerting("~:10", -inf, 10, 10.001) == [False, False, True]  # > 10
    assert alerting("10:20", 9.999, 10, 20, 20.001) == [True, False, False, True]  # < 10 or > 20
    assert alerting("@10:20", 9.999, 10, 20, 20.001) == [False, True, True, False]  # >= 10 and <= 20


@given(NUMBERS, NUMBERS, VALUES)
def test_a_range_alerts_outside_and_with_at_inside(start: str, end: str, value: float) -> None:
    assume(float(start) <= float(end))
    is_inside = float(start) <= value <= float(end)
    assert alerting(f"{start}:{end}", value) == [not is_inside]
    assert alerting(f"@{start}:{end}", value) == [is_inside]


@given(NUMBERS, VALUES)
def test_what_is_left_out_is_zero_or_infinity(number: str, value: float) -> None:
    limit = float(number)
    assert alerting(f"{number}:", value) == [value < limit]
    assert alerting(f"~:{number}", value) == [value > limit]
    if limit >= 0:
        assert alerting(number, value) == alerting(f"0:{number}", value) == alerting(f":{number}", value)


@pytest.mark.parametrize(
    "text", ["", "@", "~", "x", "1:2:3", "10:~", "20:10", "-1", "@~", "1,5", "٣", " 1", "1 ", "nan", "inf", "9" * 65]
)
def test_everything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(an empty text|.{1,16}) is no range"):
        parse_nagios_range(text)
    assert parse_nagios_range("9" * 64).end == float("9" * 64)


@pytest.mark.parametrize(("text", "start", "end"), [("20:10", "20", "10"), ("-1", "0", "-1"), (":-2", "0", "-2")])
def test_a_start_above_its_end_is_named(text: str, start: str, end: str) -> None:
    with pytest.raises(ValueError, match=rf"its start, {start}, is greater than its end, {end}$"):
        parse_nagios_range(text)


@given(st.text(alphabet="0123456789.:@~+- x", max_size=12))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parsed = parse_nagios_range(text)
    except ValueError:
        return
    assert parsed.text == text
    assert parsed.start <= parsed.end
