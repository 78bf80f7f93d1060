"""Each section of the report: titles, lines, and limits of their number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from envwatch.fleet.events import Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.watched_time import Span
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import clean
from envwatch.views.report import values
from envwatch.views.report.markdown import markdown_of
from envwatch.views.report.values import ProfileReport, Report, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = 1_760_000_400_000.0
"""Thursday, 2025-10-09 09:00 UTC."""
MIN = 60_000.0
EIGHT_HOURS = timedelta(hours=8)


def at(minute: float) -> ServerMs:
    return ServerMs(BEGIN + minute * MIN)


def subject(name: str) -> Subject:
    return Subject(clean(f"id-{name}"), clean(name))


def subjects(count: int) -> list[Subject]:
    return [subject(f"n{number}") for number in range(count)]


def watch(**changes: Any) -> values.Watch:
    usual: dict[str, Any] = {"watched": EIGHT_HOURS, "share": 1.0, "gaps": (), "doubts": (), "clock": None}
    return values.Watch(period=EIGHT_HOURS, **usual | changes)


QUIET = ProfileReport(
    profile=clean("work"),
    host=clean("host"),
    period=Span(at(0), at(480)),
    fleet=values.FleetSummary(
        listed_at=at(479),
        age=timedelta(minutes=1),
        total=9,
        up=9,
        late=0,
        offline=0,
        gone=0,
        missing=0,
        unknown=(),
    ),
    watch=watch(),
    left_out=(),
    down=(),
    incidents=(),
    outages=(),
    flapping=(),
    mode_changes=(),
    unrestricted=(),
    newest_version=clean("0.34.12"),
    up=9,
    behind=(),
    version_changes=(),
    appeared=(),
    gone=(),
    renamed=(),
    availability=(),
    alerting=(),
)


def text_of(**changes: Any) -> str:
    report = Report(
        since=WallMs(at(0)),
        until=WallMs(at(480)),
        made_at=WallMs(at(480)),
        filter=None,
        profiles=[replace(QUIET, **changes)],
    )
    return markdown_of(report, UTC)


def section(**changes: Any) -> list[str]:
    """Return the lines of the only section."""
    (found,) = [block for block in text_of(**changes).split("\n\n") if block.startswith("## ")]
    return found.removeprefix("## ").splitlines()


def down(name: str, **changes: Any) -> values.Down:
    usual: dict[str, Any] = {
        "state": Presence.OFFLINE,
        "since": at(470),
        "lasted": timedelta(minutes=10),
        "found_after_gap": False,
        "reason": clean("disconnected"),
        "pod": None,
        "acknowledged": None,
        "silenced": None,
        "is_old": False,
    }
    return values.Down(subject=subject(name), **usual | changes)


SILENCED = down("s", silenced=clean("silenced until 18:00"))
OLD = down("o", is_old=True)
ACKED = down("k", acknowledged=clean(""))


@pytest.mark.parametrize(
    ("rows", "title", "last"),
    [
        ([down("a")], "1", "- `a` offline since 16:50 (10m): disconnected"),
        ([down("a"), ACKED], "2 (1 not acknowledged)", "- `k` offline since 16:50 (10m): disconnected, acknowledged"),
        ([ACKED], "1 (all acknowledged)", "- `k` offline since 16:50 (10m): disconnected, acknowledged"),
        ([SILENCED], "1 silenced", "- silenced: `s`"),
        ([OLD], "1 for over a day", "- for over a day: `o`"),
        ([down("a"), SILENCED, OLD], "1, 1 silenced, and 1 for over a day", "- for over a day: `o`"),
        ([down("a"), replace(SILENCED, is_old=True)], "1, and 1 for over a day", "- for over a day: `s`"),
        ([down("a", since=None, lasted=None)], "1", "- `a` offline: disconnected"),
        (
            [down("a", found_after_gap=True, pod=clean("p-1"), acknowledged=clean("disk"))],
            "1 (all acknowledged)",
            (
                "- `a` offline since 16:50 or before (10m, found after a gap): disconnected, pod `p-1`, "
                "acknowledged: `disk`"
            ),
        ),
    ],
)
def test_what_is_still_down_is_counted_by_kind(rows: Sequence[values.Down], title: str, last: str) -> None:
    found = section(down=rows)
    assert (found[0], found[-1]) == (f"Still down: {title}", last)


@pytest.mark.parametrize(("count", "shown"), [(13, 13), (14, 12)])
def test_twelve_lines_are_shown_unless_one_more_is_all(count: int, shown: int) -> None:
    lines = section(down=[down(f"n{number}") for number in range(count)])[1:]
    assert len([line for line in lines if "offline" in line]) == shown
    assert (lines[-1] == f"- and {count - shown} more") is (count > shown)


@pytest.mark.parametrize(
    ("count", "text"), [(9, "`n0`, `n1`, `n2`, `n3`, `n4`, `n5`, `n6`, `n7` and `n8`"), (10, "`n7` and 2 more")]
)
def test_eight_old_rows_are_named_unless_one_more_is_all(count: int, text: str) -> None:
    assert section(down=[down(f"n{number}", is_old=True) for number in range(count)])[1].endswith(text)


def incident(count: int = 3, **changes: Any) -> values.ReportedIncident:
    usual: dict[str, Any] = {
        "began_at": at(60),
        "kind": Kind.OFFLINE,
        "environments": subjects(count),
        "shared": None,
        "pods": {},
        "found_after_gap": False,
        "still_down": (),
        "back_at": None,
    }
    return values.ReportedIncident(**usual | changes)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (incident(back_at=at(65)), "3 went offline together: `n0`, `n1` and `n2`. All back within 5m."),
        (incident(), "3 went offline together: `n0`, `n1` and `n2`. All back."),
        (incident(still_down=subjects(3)), "3 went offline together: `n0`, `n1` and `n2`. None is back."),
        (
            incident(still_down=subjects(1), back_at=at(65)),
            "3 went offline together: `n0`, `n1` and `n2`. 2 back within 5m, 1 still down: `n0`.",
        ),
        (incident(shared=clean("pod p-7")), "3 went offline together, all `pod p-7`: `n0`, `n1` and `n2`. All back."),
        (
            incident(needless=1, kind=Kind.GONE),
            "2 gone together (+1 need nobody): `n0`, `n1` and `n2`. All back.",
        ),
        (
            incident(kind=Kind.MISSING, found_after_gap=True),
            "3 were found missing after a gap: `n0`, `n1` and `n2`. All back.",
        ),
        (incident(6), "6 went offline together: `n0`, `n1`, `n2`, `n3` and 2 more. All back."),
        (incident(5), "5 went offline together: `n0`, `n1`, `n2`, `n3` and `n4`. All back."),
        (
            incident(2, pods={clean("p-1"): 1, clean("p-2"): 1}),
            "2 went offline together, on 2 pods: `n0` and `n1`. All back.",
        ),
        (
            incident(pods={clean("p-1"): 2, clean("p-2"): 1}),
            "3 went offline together, 2 of them on pod `p-1`: `n0`, `n1` and `n2`. All back.",
        ),
        (
            incident(pods={clean("p-1"): 3}),
            "3 went offline together, all on pod `p-1`: `n0`, `n1` and `n2`. All back.",
        ),
        (incident(pods={clean("p-1"): 1}), "3 went offline together: `n0`, `n1` and `n2`. All back."),
    ],
)
def test_an_incident_says_where_and_who_is_back(found: values.ReportedIncident, text: str) -> None:
    assert section(incidents=[found]) == ["Lost together: 1", f"- 10:00 {text}"]


def test_rows_that_are_not_back_at_the_end_of_a_silence_are_one_incident() -> None:
    (_, line) = section(incidents=[incident(2, kind=Kind.NOT_BACK, still_down=subjects(2))])
    assert line == "- 2 not back by 10:00: `n0` and `n1`. None is back."


def test_eight_incidents_are_shown_those_with_rows_down_first_then_the_largest_in_the_order_of_time() -> None:
    found = [incident(number + 2, began_at=at(number)) for number in range(10)]
    assert section(incidents=found[:8])[-1].startswith("- 09:07 9 went offline")
    lines = section(incidents=[replace(found[0], still_down=subjects(1)), *found[1:]])
    assert [line[:7] for line in lines[1:]] == [
        *("- 09:00", "- 09:03", "- 09:04", "- 09:05", "- 09:06", "- 09:07", "- 09:08", "- 09:09", "- and 2"),
    ]
    assert lines[0] == "Lost together: 10"
    assert lines[-1] == "- and 2 smaller ones"


def outage(name: str, lasted: float = 5, **changes: Any) -> values.Downtime:
    usual: dict[str, Any] = {
        "began_at": at(60),
        "ended_at": at(60 + lasted),
        "lasted": timedelta(minutes=lasted),
        "seen": timedelta(minutes=lasted - 1),
        "reason": clean("disconnected"),
        "incident": None,
    }
    return values.Downtime(subject=subject(name), **usual | changes)


def test_the_longest_outage_of_each_row_that_ended_alone_is_shown() -> None:
    others = [outage("c", ended_at=None), outage("d", incident=0)]
    assert section(outages=[outage("a", 9), outage("b"), outage("a", 3), outage("a", 2), *others]) == [
        "Longest outages that ended: 2",
        "- `a` for 9m, 10:00 to 10:09: disconnected; 2 shorter ones",
        "- `b` for 5m, 10:00 to 10:05: disconnected",
    ]
    assert section(outages=[outage("a", 9, began_at=None)])[1] == "- `a` for at least 8m, until 10:09: disconnected"


@pytest.mark.parametrize(
    ("count", "title"), [(5, "5"), (6, "5 of 7 in 6 environments"), (1_200, "5 of 1,201 in 1,200 environments")]
)
def test_five_outages_are_shown(count: int, title: str) -> None:
    found = section(outages=[*(outage(f"n{number}") for number in range(count)), *([outage("n0", 1)] * (count > 5))])
    assert (found[0], len(found)) == (f"Longest outages that ended: {title}", 6)


@pytest.mark.parametrize(
    ("times", "is_flapping", "outages", "text"),
    [
        (1, False, 0, "09:00 to 09:05"),
        (2, False, 1, "09:10 to 09:15 and once before; 1 outage, 8m down in all"),
        (3, True, 2, "since 09:20, still and 2 times before; 2 outages, 8m down in all"),
    ],
)
def test_a_flapper_has_the_last_time_and_the_number_of_times_before(
    times: int, outages: int, text: str, *, is_flapping: bool
) -> None:
    spans = [Span(at(10 * number), at(10 * number + 5)) for number in range(times)]
    flapper = values.Flapper(
        subject=subject("a"), times=spans, is_flapping=is_flapping, outages=outages, down=timedelta(minutes=8)
    )
    assert section(flapping=[flapper]) == ["Flapping: 1", f"- `a` {text}"]


def change(name: str, minute: float, before: str | None, after: str | None) -> values.ReportedChange:
    was, now = (None if value is None else clean(value) for value in (before, after))
    return values.ReportedChange(subject=subject(name), at=at(minute), before=was, after=now)


FREE = "unrestricted"


@pytest.mark.parametrize(
    ("unrestricted", "changes", "lines"),
    [
        (
            [
                values.Unrestricted(subject=subject("a"), since=at(5), is_up=True),
                values.Unrestricted(subject=subject("b"), since=None, is_up=False),
            ],
            [change("a", 5, "strict", FREE)],
            ["Unrestricted: 2", "- `a` since 09:05", "- `b` since before 09:00, offline"],
        ),
        (
            [],
            [
                change("a", 5, "strict", FREE),
                change("a", 9, FREE, "strict"),
                change("b", 10, FREE, "strict"),
                change("c", 11, "standard", "strict"),
                change("c", 12, "strict", "standard"),
            ],
            [
                "Modes: none is unrestricted",
                "- for a time, and not any more (2): `b` until 09:10 and `a` 09:05 to 09:09",
                "- 2 other changes of mode in 1 environment",
            ],
        ),
        (
            [],
            [change("a", 1, FREE, "strict"), change("a", 2, "strict", FREE), change("a", 3, FREE, "strict")],
            ["Modes: none is unrestricted", "- for a time, and not any more (1): `a` 09:02 to 09:03"],
        ),
    ],
)
def test_rows_that_are_or_were_unrestricted_are_named(
    unrestricted: Sequence[values.Unrestricted], changes: Sequence[values.ReportedChange], lines: list[str]
) -> None:
    assert section(unrestricted=unrestricted, mode_changes=changes) == lines


def behind(count: int) -> list[values.Behind]:
    return [values.Behind(version=clean(f"0.{number}"), environments=subjects(2)) for number in range(count)]


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (7, 7), (8, 6)])
def test_six_old_versions_are_shown_unless_one_more_is_all(count: int, shown: int) -> None:
    found = section(behind=behind(count))
    assert found[:2] == [f"Versions: {2 * count} of 9 are behind `0.34.12`", "- `0.0` (2): `n0` and `n1`"]
    assert sum("(2)" in line for line in found) == shown


def test_changes_of_version_are_counted_by_version_and_steps_back_are_named() -> None:
    found = [change(f"n{number}", number, "0.33", "0.34.1") for number in range(4)]
    assert section(version_changes=[*found, change("n0", 9, "0.33", None)]) == [
        "Versions: none is behind `0.34.12`",
        "- 4 changes of version in `n0`, `n1`, `n2` and `n3`: to `0.34.1` (4)",
    ]
    assert section(version_changes=[*found, change("n4", 9, "0.34", "0.33")], newest_version=None) == [
        "Versions",
        "- 5 changes of version in 5 environments: to `0.34.1` (4) and `0.33` (1)",
        "- went back to an older version (1): `n4`",
    ]


def arrivals(count: int) -> list[values.Arrival]:
    return [values.Arrival(subject=each, at=at(5), state=None, reason=None) for each in subjects(count)]


def test_new_and_gone_and_renamed_rows_are_named() -> None:
    assert section(appeared=arrivals(1), gone=arrivals(6), renamed=[change("a", 1, None, "b")]) == [
        "New, gone, renamed",
        "- new (1): `n0` 09:05",
        "- left the list (6): `n0` 09:05, `n1` 09:05, `n2` 09:05, `n3` 09:05 and 2 more",
        "- renamed (1): `–` to `b`",
    ]


def gap(begin: float, end: float, cause: str = "blind", **changes: Any) -> values.Gap:
    usual: dict[str, Any] = {"is_open": False, "reason": None}
    return values.Gap(began_at=at(begin), ended_at=at(end), cause=cause, **usual | changes)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"gaps": [gap(1, 3)], "watched": EIGHT_HOURS - timedelta(minutes=2)},
            ["Not seen: 2m", "- 09:01 to 09:03 (2m): blind"],
        ),
        (
            {"doubts": [gap(1, 3, "not believed", reason=clean("empty"))], "clock": clean("the clock is wrong")},
            ["Seen with doubts", "- in doubt: 09:01 to 09:03 (2m): not believed: `empty`", "- the clock is wrong"],
        ),
        ({"clock": clean("the clock is wrong")}, ["Seen with doubts", "- the clock is wrong"]),
    ],
)
def test_unseen_and_doubtful_times_are_named(changes: dict[str, Any], lines: list[str]) -> None:
    assert section(watch=watch(**changes)) == lines


def available(name: str, share: float) -> values.Available:
    return values.Available(subject=subject(name), share=share, down=timedelta(minutes=8), outages=1)


@pytest.mark.parametrize(
    ("shares", "lines"),
    [
        ([0.5, 1.0], ["Availability", "- 50.0 % `n0`: down 8m in 1 outage", "- 1 other: up 100 % of the time watched"]),
        ([0.0, 0.0], ["Availability", "- never up (2): `n0` and `n1`"]),
    ],
)
def test_the_availability_of_rows_with_outages_is_named(shares: list[float], lines: list[str]) -> None:
    assert section(availability=[available(f"n{place}", share) for place, share in enumerate(shares)]) == lines


def test_the_least_available_rows_are_named_and_the_rest_is_as_good_as_the_last_one_or_better() -> None:
    rows = [available(f"n{place}", 0.5 + place / 100) for place in range(14)]
    assert len(section(availability=rows[:13])) == 14
    assert section(availability=rows)[-2:] == [
        "- 61.0 % `n11`: down 8m in 1 outage",
        "- and 2 more, each 62.0 % or better",
    ]
    assert "All were up all of the time watched." in text_of(availability=[available("a", 1.0)])
    assert "All were up" not in text_of()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "9 of 9 up, by the listing of 16:59 (1m old)."),
        ({"up": 8, "late": 1, "offline": 1}, "8 of 9 up (1 late), 1 offline, by the listing of 16:59 (1m old)."),
        (
            {"up": 0, "gone": 1_000, "missing": 2, "unknown": subjects(6)},
            (
                "0 of 9 up, 1,000 gone, 2 missing, 6 not known (`n0`, `n1`, `n2`, `n3` and 2 more), by the listing of "
                "16:59 (1m old)."
            ),
        ),
    ],
)
def test_the_summary_counts_the_fleet_by_state(changes: dict[str, Any], text: str) -> None:
    assert QUIET.fleet is not None
    assert text in text_of(fleet=replace(QUIET.fleet, **changes)).splitlines()


def test_a_time_that_lasts_on_is_a_warning_unless_envwatch_does_not_run() -> None:
    gaps = [
        gap(470, 480, is_open=True, reason=clean("timeout")),
        gap(1, 2),
        gap(475, 480, values.NOT_RUNNING, is_open=True),
    ]
    warnings = [line for line in text_of(watch=watch(gaps=gaps)).splitlines() if line.startswith("Careful")]
    assert warnings == ["Careful, this may be out of date: blind: `timeout`, since 16:50."]
    assert "No listing came: what is up is not known." in text_of(fleet=None)
