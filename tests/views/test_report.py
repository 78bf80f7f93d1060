"""The sections of a report: rows down, losses together, outages, changes, gaps, availability."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.night import HOUR_MS, ZONE, Night, eventful_night
from support.reports import head, lines, names, recorded, section, told, values

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import silence_of_query
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.presence import DISCONNECTED, GONE, UNTIMED
from envwatch.fleet.profile_state import Fleet
from envwatch.history.past import LeftOut, Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.views.events.matching import compile_matcher
from envwatch.views.output.formats import iso
from envwatch.views.report.document import render_markdown, report_json
from envwatch.views.report.outages import losses_together
from envwatch.views.report.period import Recorded, recorded_in
from envwatch.views.report.sections import build_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from envwatch.alerts.silences import Silence
    from envwatch.views.report.document import ProfileReport


GOLDEN = Path(__file__).with_name("report_of_a_night.md")


def loss_of(id_: str, incident: str | None = None) -> Event:
    return Event(
        kind=Kind.OFFLINE, at=ServerMs(0.0), id=clean(id_), incident=None if incident is None else clean(incident)
    )


@cache
def whole_night() -> ProfileReport:
    return report(eventful_night())


def report(night: Night, hours: float = 8) -> ProfileReport:
    return build_report(recorded(night.history, night.wall, hours), ZONE)


def document(*reports: ProfileReport) -> Any:
    return json.loads(report_json(reports))["profiles"]


def test_the_report_of_a_night_reads_as_a_handover() -> None:
    """After an intended change, write `render_markdown([whole_night()])` into the file, and read the file."""
    assert render_markdown([whole_night()]) == GOLDEN.read_text(encoding="utf-8")


def test_a_quiet_night_is_a_few_lines() -> None:
    night = Night().add("ana", "ben").until("23:00")
    empty = "still down, unrestricted, lost together, other outages, flapping, changed, old versions"
    assert lines(report(night, 1)) == [
        "# envwatch: `work` on `api.letta.com`",
        "",
        "Tue 24 Nov 2026 22:00 to 23:00 (1h), times in UTC+01. All of it was watched.",
        "",
        "2 machines: 2 on, as of 22:59 (30s old).",
        "",
        "## Availability: 2",
        "- `ana` and `ben` up 100 %",
        "",
        f"None: {empty}, not seen or in doubt.",
    ]


def test_losses_together_are_the_losses_of_an_incident_or_of_a_group() -> None:
    first, second = (loss_of(id_, "inc-1") for id_ in ("a", "b"))
    others = [loss_of(id_) for id_ in ("c", "d")]
    group = Event(kind=Kind.TOGETHER, at=ServerMs(0.0), of=Kind.OFFLINE, members=(others[0], second, others[1]))
    assert losses_together([first, second]) == [([first, second], [])]
    assert losses_together([first, first, *others]) == []
    assert losses_together([first, group]) == [([first, second, *others], [group])]
    assert losses_together([replace(group, members=tuple(others))]) == [
        (others, [replace(group, members=tuple(others))])
    ]
    two = replace(group, members=(first, loss_of("e", "inc-2"), others[0], others[1]))
    assert losses_together([two]) == [(others, [two])]


def test_rows_lost_alike_share_a_sentence() -> None:
    names_of_rows = [f"web-{number}" for number in range(500)]
    night = Night().add(*names_of_rows, "db").poll(2).lose(*names_of_rows).poll(2)
    found = report(night, hours=1)
    assert section(found, "down").heading == "Still down: 500"
    some = "`web-0`, `web-1`, `web-2`, `web-3` and 496 more"
    assert told(found, "down") == [f"{some} offline since 22:01 (under 1m): disconnected, pod `pod-1`"]
    assert told(found, "incidents") == [
        f"22:01: 500 went offline together: {some}; none is back",
    ]
    assert max(map(len, lines(found))) < 250
    assert names(found, "down") == names_of_rows


@pytest.mark.parametrize(("seconds", "text"), [(90, "All of it was watched."), (91, "Watched 97.5 %; 1m not seen.")])
def test_the_newest_listing_holds_until_blindness(seconds: int, text: str) -> None:
    """At 30 s between polls, the listing is blind after 90 s."""
    night = Night().add("ana").until("23:00")
    until = night.at - 30_000 + seconds * 1000
    watched = recorded(night.history, until, (until - (night.at - HOUR_MS)) / HOUR_MS)
    assert build_report(watched, ZONE).head[0].predicate == text


def test_a_lasting_failure_or_quarantine_is_told_above_the_sections() -> None:
    night = Night().add("ana", "ben", "chen").until("22:40").fail("23:00", Cause.UNAUTHORIZED)
    found = report(night, 1)
    assert head(found, "fleet") == (
        "3 machines: 3 on, 1 envwatch, as of 22:39 (20m old)."
        " Careful, this may be out of date: key refused: `key refused`, since 22:39."
    )
    assert told(found, "unseen") == ["since 22:39 (20m) key refused: `key refused`"]
    night = Night().add("ana", "ben", "chen").until("22:10").empty(2)
    assert "Careful, this may be out of date: not believed: `the list came back empty`" in head(report(night), "fleet")
    night = Night().add("ana").until("22:10")
    stopped = recorded(night.history, night.wall + HOUR_MS, 1.1)
    assert "Careful" not in head(build_report(stopped), "fleet"), "envwatch was stopped"


def test_without_any_listing_nothing_is_said_to_be_fine() -> None:
    found = report(Night().fail("22:10"), hours=1)
    assert head(found, "fleet").startswith("No answer came: what is up is not known.")
    assert document(found)[0]["fleet"] is None
    assert not any(line.startswith("None: ") for line in lines(found))


def test_the_fleet_is_counted_by_state() -> None:
    night = Night().add("ana", "ben", "chen", "dan").add("eve", down_h=3).until("22:10").remove("ben")
    night.add("late").until("22:20")
    night.change("late", lastHeartbeat=night.at - 10_000, lastSeenAt=night.at - 10_000)
    found = report(night.poll(3))
    assert head(found, "fleet").startswith("6 machines: 2 page, 1 late, 3 on, as of 22:21 (30s old).")
    (fleet,) = [profile["fleet"] for profile in document(found)]
    counts = {"total": 6, "paging": 2, "other_off": 0, "late": 1, "online": 3}
    assert {name: fleet[name] for name in counts} == counts
    assert (fleet["listed_at"], fleet["age_s"], fleet["newest_version"]) == ("2026-11-24T21:21:00.000Z", 30, "0.34.12")


def test_a_replaced_row_is_counted_in_the_head_and_is_no_row_that_is_still_down() -> None:
    old, new = (f"server-{letter * 16}" for letter in "ab")
    night = Night().add("ana", deviceId="nas", listenerInstanceId=old).add("ben").until("22:10").lose("ana", "ben")
    night.add("ana-2", deviceId="nas", listenerInstanceId=new, firstSeenAt=night.at)
    found = report(night.until("22:20"))
    assert head(found, "fleet").startswith("3 machines: 1 page, 1 on, 1 replaced, as of")
    assert names(found, "down") == ["ben"]
    fleet = document(found)[0]["fleet"]
    assert (fleet["paging"], fleet["replaced"]) == (1, 1)


def test_a_row_without_a_possible_time_is_not_known_and_not_down() -> None:
    night = Night().add("ana", "ben").add("clock", lastHeartbeat=1_795_000_000.0).until("22:10")
    found = report(night)
    assert head(found, "fleet").startswith("3 machines: 2 on, 1 unknown (`clock`), as of 22:09 (30s old).")
    assert not values(found, "down")
    assert names(found, "availability") == ["ana", "ben"]
    never = build_report(with_row(recorded(night.history, night.wall), verdict=UNTIMED, has_impossible_time=True))
    assert head(never, "fleet").startswith("3 machines: 1 on, 2 unknown (`ana` and `clock`), as of")
    assert not values(never, "down")


@pytest.mark.parametrize(
    ("skew_s", "warning"),
    [
        (4, ""),
        (90, " Careful: this machine's clock is 1m 30s ahead of the server's; ages are by the server's."),
        (-3600, " Careful: this machine's clock is 1h behind the server's; ages are by the server's."),
    ],
)
def test_times_are_the_servers_and_a_wrong_clock_is_named(skew_s: int, warning: str) -> None:
    night = Night(skew_ms=skew_s * 1000).add("ana", "ben").until("22:10").lose("ana").until("22:20").restore("ana")
    found = report(night.until("22:30").stop("22:40").until("23:00"), hours=1)
    assert head(found, "watch") == (
        f"Tue 24 Nov 2026 22:00 to 23:00 (1h), times in UTC+01. Watched 82.5 %; 10m not seen.{warning}"
    )
    assert told(found, "outages") == ["`ana` down 10m, 22:10 to 22:20: disconnected"]
    assert told(found, "unseen") == ["22:29 to 22:40 (10m) envwatch did not run"]


# Still down.


def with_row(found: Recorded, **changes: Any) -> Recorded:
    """Return records with another last state of `ana`."""
    state = found.last.profile_state
    rows = {**state.environments, clean("ana"): replace(state.environments[clean("ana")], **changes)}
    return replace(found, last=replace(found.last, profile_state=replace(state, environments=rows)))


def rows_down(**since_s: float) -> Recorded:
    """Return a period at whose end some rows are off, each since some seconds."""
    night = Night().add(*since_s).poll(2)
    found = recorded(night.history, night.wall, 1)
    state = found.last.profile_state
    at = state.clock.server_time(found.last.now.wall)
    rows = {
        id_: replace(row, verdict=DISCONNECTED, since_at=ServerMs(at - since_s[id_] * 1_000))
        for id_, row in state.environments.items()
    }
    return replace(found, last=replace(found.last, profile_state=replace(state, environments=rows)))


def silenced_by(silence: Silence, found: Recorded) -> Recorded:
    """Return records whose last moment has a silence."""
    monitor = Monitor(Fleet({NO_PROFILE: found.last.profile_state}), silences={silence.id: silence})
    alerts = Moment.of(monitor, NO_PROFILE, found.last.now).alerts
    return replace(found, last=replace(found.last, alerts=alerts))


def acked(found: Recorded, **notes: str) -> Recorded:
    acks = {clean(name): Ack(found.last.now.wall, clean(note)) for name, note in notes.items()}
    return replace(found, last=replace(found.last, acks=acks))


def test_rows_in_need_of_a_person_come_first_then_acknowledged_silenced_and_old_rows() -> None:
    found = acked(rows_down(older=130, newest=60, noted=50, acked=50, silenced=40, old=90_000), acked="", noted="disk")
    silence = silence_of_query(
        compile_matcher("id:silenced"),
        WallMs(found.last.now.wall - 60_000),
        timedelta(hours=1),
        clean(""),
        clean("ana"),
    )
    profile = build_report(silenced_by(silence, found), ZONE)
    assert section(profile, "down").heading == "Still down: 6 (2 acknowledged, 1 silenced, 1 for over a day)"
    assert told(profile, "down") == [
        "`newest` offline since 21:59 (1m): disconnected, pod `pod-1`",
        "`older` offline since 21:58 (2m): disconnected, pod `pod-1`",
        "`noted` offline since 21:59 (1m): disconnected, pod `pod-1`, acknowledged: `disk`",
        "`acked` offline since 21:59 (1m): disconnected, pod `pod-1`, acknowledged",
        "`silenced` offline since 21:59 (1m): disconnected, pod `pod-1`, silenced until Tue 24 Nov 22:59",
        "`old` down for over a day",
    ]


def test_rows_in_need_of_nobody_follow_the_others() -> None:
    night = Night().add("ana", "mac", "ben", "mac-2", "chen")
    night.monitor = replace(night.monitor, policies={NO_PROFILE: AlertPolicy(alert=compile_matcher("!name:mac*"))})
    night.until("22:10").lose("mac").until("22:20").restore("mac").until("22:25").lose("ana").until("22:26")
    night.restore("ana").until("22:30").lose("ben").until("22:35").lose("mac-2").until("22:45")
    found = report(night, 1)
    assert section(found, "down").heading == "Still down: 2 (1 not paging)"
    assert told(found, "down") == [
        "`ben` offline since 22:30 (14m): disconnected, pod `pod-1`",
        "`mac-2` offline since 22:35 (9m): disconnected, pod `pod-1`, not paging",
    ]
    assert section(found, "outages").heading == "Other outages: 2 (1 not paging)"
    assert told(found, "outages") == [
        "`ana` down 1m, 22:25 to 22:26: disconnected",
        "`mac` down 10m, 22:10 to 22:20: disconnected, not paging",
    ]
    assert {each["name"]: each["pages"] for each in values(found, "outages")} == {
        "ana": True,
        "mac": False,
        "ben": True,
        "mac-2": False,
    }


@pytest.mark.parametrize(("less_ms", "is_old"), [(0, True), (1, False)])
def test_a_row_is_old_from_a_day_on(less_ms: float, *, is_old: bool) -> None:
    night = Night().add("ana", "ben").poll(2)
    found = recorded(night.history, night.wall, 1)
    state = found.last.profile_state
    since = ServerMs(state.clock.server_time(found.last.now.wall) - 86_400_000 + less_ms)
    (line,) = told(build_report(with_row(found, verdict=GONE, since_at=since)), "down")
    assert (line == "`ana` down for over a day") is is_old


@pytest.mark.parametrize(("more_s", "is_silenced"), [(0, False), (1, True)])
def test_a_silence_is_over_at_its_end(more_s: float, *, is_silenced: bool) -> None:
    found = rows_down(ana=70)
    begin, lasts = WallMs(found.last.now.wall - 3_600_000), timedelta(seconds=3_600 + more_s)
    silence = silence_of_query(compile_matcher("ana"), begin, lasts, clean(""), clean("ana"))
    (down,) = values(build_report(silenced_by(silence, found)), "down")
    assert (down["silenced_until"] is not None) is is_silenced


def test_a_loss_after_a_silence_is_not_as_old_as_the_end_of_the_silence() -> None:
    """The row's last sign of life precedes the silence, which ended 25 hours ago."""
    found = rows_down(ana=60)
    row, wall = found.last.profile_state.environments[clean("ana")], found.last.now.wall
    signed = replace(row.environment, last_heartbeat_at=None, last_seen_at=ServerMs(wall - 27 * 3_600_000))
    found = with_row(found, environment=signed)
    silence = silence_of_query(
        compile_matcher("ana"), WallMs(wall - 28 * 3_600_000), timedelta(hours=3), clean(""), clean("ana")
    )
    (line,) = told(build_report(silenced_by(silence, found), ZONE), "down")
    assert line.startswith("`ana` offline since 21:59 (1m)")


def test_equal_names_have_the_end_of_their_ids_and_a_row_has_its_newest_name() -> None:
    night = Night().add("id-of-aaaa", "id-of-bbbb", connectionName="web").add("ana").poll(2)
    night.lose("id-of-aaaa", "id-of-bbbb").poll(2)
    assert told(report(night), "down")[0].startswith("`web` `aaaa` and `web` `bbbb` offline since ")
    night = Night().add("id-1", connectionName="web").poll(2).change("id-1", connectionName="web-2").poll(2)
    assert names(build_report(replace(recorded(night.history, night.wall), events=())), "availability") == ["web-2"]


def test_a_begin_without_an_event_is_not_known() -> None:
    night = Night(compares_runs=False).add("ana", "ben").poll(2).lose("ana").until("22:10").restore("ana")
    night.until("22:20").lose("ana").stop("22:30").until("22:40")
    assert outages(night) == [("ana", None, None), ("ana", "22:01:00", "22:10:00")]
    (down,) = values(report(night), "down")
    assert (down["since"], down["found_after_gap"]) == (iso(night.at - 20 * 60_000.0), False)
    night = Night(compares_runs=True).add("ana", "ben").until("22:20").lose("ana").stop("22:30").until("22:40")
    assert outages(night) == [("ana", "22:30:00", None)]
    assert told(report(night, 1), "down") == ["`ana` offline since 22:30 or before (9m): disconnected, pod `pod-1`"]


# Lost together.


def test_an_incident_began_with_the_first_loss_and_is_of_the_most_frequent_kind() -> None:
    found = rows_down(ana=70, ben=60, chen=50)
    rows = found.last.profile_state.environments
    kinds = {"ana": Kind.GONE, "ben": Kind.OFFLINE, "chen": Kind.OFFLINE}
    losses = [
        replace(rows[clean(name)].event(kind, ServerMs(found.last.now.wall - ago_s * 1_000)), incident=clean("inc-1"))
        for (name, kind), ago_s in zip(kinds.items(), (60, 70, 50), strict=True)
    ]
    (incident,) = values(build_report(replace(found, events=losses)), "incidents")
    assert (incident["began_at"], incident["kind"]) == (iso(found.last.now.wall - 70_000), "offline")
    assert (incident["needless"], incident["back_at"], len(incident["still_down"])) == (0, None, 3)
    assert not incident["found_after_gap"]
    gap = Event(kind=Kind.WHILE_BLIND, at=losses[0].at, members=(losses[0],))
    (incident,) = values(build_report(replace(found, events=[gap, *losses[1:]])), "incidents")
    assert (incident["found_after_gap"], incident["shared"]) == (True, None)
    groups = [
        Event(kind=Kind.TOGETHER, of=Kind.OFFLINE, at=losses[1].at, members=tuple(losses[1:]), reason=clean("pod p-1")),
        Event(kind=Kind.TOGETHER, of=Kind.ONLINE, at=losses[0].at, members=(losses[0],), reason=clean("pod p-2")),
    ]
    (incident,) = values(build_report(replace(found, events=[gap, *groups])), "incidents")
    assert (incident["found_after_gap"], incident["shared"]) == (True, "pod p-1")


def test_an_incident_lasts_until_the_last_row_is_back() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").lose("ana", "ben").until("22:20").restore("ana")
    part, whole = (report(each, 1) for each in (night.branch().until("22:30"), night.until("22:30").restore("ben")))
    assert told(part, "incidents") == [
        "22:10: 2 went offline together: `ana` and `ben`; 1 back within 10m, 1 still down"
    ]
    whole = report(night.until("22:40"), 1)
    assert told(whole, "incidents")[0].endswith("`ana` and `ben`; all back within 20m")


def test_incidents_with_rows_still_down_come_first_then_the_largest() -> None:
    rows = ("a1", "a2", "b1", "b2", "b3", "c1", "c2", "d1", "d2")
    night = Night().add(*rows)
    for clock, lost in (("22:10", "a"), ("22:20", "b"), ("22:30", "c")):
        own = [name for name in rows if name[0] == lost]
        night.until(clock).lose(*own).until(f"{clock[:3]}{int(clock[3:]) + 5}")
        if lost != "c":
            night.restore(*own)
    found = told(report(night.until("22:50"), 1), "incidents")
    assert [line[:5] for line in found] == ["22:30", "22:20", "22:10"]


@pytest.mark.parametrize(
    ("pods", "text"),
    [((), ""), (("p-1", "p-1"), ", on pod `p-1`"), (("p-1", "p-2"), ", on 2 pods"), ((None, None), "")],
)
def test_the_blast_radius_is_the_pod_or_the_number_of_pods(pods: Sequence[str | None], text: str) -> None:
    found = rows_down(ana=70, ben=60)
    losses = []
    for row, pod in zip(found.last.profile_state.environments.values(), pods or (None, None), strict=True):
        event = replace(row.event(Kind.OFFLINE, row.lost_at), incident=clean("inc-1"))
        assert event.then is not None
        environment = replace(event.then.environment, pod_id=None if pod is None else clean(pod))
        then = replace(event.then, environment=environment) if pods else None
        losses.append(replace(event, then=then))
    (line,) = told(build_report(replace(found, events=losses)), "incidents")
    assert f": 2 went offline together{text}: " in line


def test_a_pod_with_another_row_up_is_no_blast_radius() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").lose("ana", "ben").until("22:20")
    spared, whole = report(night.branch(), 1), report(night.lose("chen").until("22:30"), 1)
    assert told(spared, "incidents") == ["22:10: 2 went offline together: `ana` and `ben`; none is back"]
    assert told(whole, "incidents") == told(spared, "incidents")
    assert [incident["pods"] for incident in values(spared, "incidents")] == [{"pod-1": 2}]


@pytest.mark.parametrize("latency_ms", [0, 200, 5_000])
def test_losses_of_a_gap_are_not_said_to_be_lost_together(latency_ms: int) -> None:
    """The poll of the first listing after the gap is recorded with the answer, later than the events."""
    night = Night(latency_ms=latency_ms).add("ana", "ben", "chen").until("22:10").lose("ana", "ben")
    night.stop("22:30").until("22:40")
    assert told(report(night), "incidents") == [
        "22:30: 2 were found offline after a gap: `ana` and `ben`; none is back"
    ]
    assert outages(night) == [("ana", "22:30:00", None), ("ben", "22:30:00", None)]
    assert [gap["cause"] for gap in values(report(night, 0.5), "unseen")] == ["envwatch did not run"]


def test_rows_in_need_of_nobody_are_counted_next_to_the_rows_of_their_outage() -> None:
    night = Night().add("ana", "ben", "mac-1").add("chen", podId="pod-2")
    night.monitor = replace(night.monitor, policies={NO_PROFILE: AlertPolicy(alert=compile_matcher("!id:mac-1"))})
    night.until("22:10").lose("ana", "ben", "mac-1").until("22:40")
    what = "2 went offline together (+1 not paging), all `pod pod-1`"
    assert told(report(night), "incidents") == [f"22:10: {what}: `ana`, `ben` and `mac-1`; none is back"]


def test_a_loss_found_by_a_single_listing_between_two_gaps_belongs_to_its_outage() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").lose("ana", "ben").stop("22:30").poll().stop("22:40")
    night.until("22:50")
    assert outages(night) == [("ana", "22:30:00", None), ("ben", "22:30:00", None)]
    (line,) = told(report(night), "incidents")
    assert line.endswith("none is back")


# Outages.


def outages(night: Night, hours: float = 1) -> list[tuple[str, str | None, str | None]]:

    def clock(at: str | None) -> str | None:
        return None if at is None else f"{datetime.fromisoformat(at).astimezone(ZONE):%H:%M:%S}"

    found = sorted(values(report(night, hours), "outages"), key=lambda each: (each["name"], each["ended_at"] or ""))
    return [(each["name"], clock(each["began_at"]), clock(each["ended_at"])) for each in found]


def test_an_outage_has_its_begin_if_known_or_else_the_least_length() -> None:
    night = Night().add("ana", "ben").until("22:10").lose("ana").until("22:30").restore("ana").until("23:00")
    assert outages(night, hours=0.75) == [("ana", "22:10:00", "22:30:00")]
    assert told(report(night, 0.75), "outages") == ["`ana` down 20m, 22:10 to 22:30: disconnected"]
    night = Night().add("ana").until("22:10").add("ben", down_h=3).until("22:30").restore("ben").until("22:45")
    assert outages(night) == [("ben", "22:10:00", "22:30:00")]
    night = Night(latency_ms=200).add("ana", "ben", "chen").until("22:10").lose("ana").stop_for(1_000).until("22:40")
    assert outages(night) == [("ana", "22:10:01", None)]
    night = Night().add("ana", "ben").lose("ana", lastSeenAt=1_000.0).until("22:20").restore("ana").until("22:30")
    assert told(report(night, 0.5), "outages") == ["`ana` down at least 20m, until 22:20: disconnected"]


def test_the_longest_outage_of_each_row_is_told_unless_told_in_another_section() -> None:
    night = Night().add("ana", "ben", "chen", "dan", "eve").until("22:05").lose("ana").until("22:07").restore("ana")
    night.until("22:15").lose("ana", "ben").until("22:24").restore("ana", "ben").until("22:30")
    night.lose("ana").until("22:35").restore("ana").until("22:40").lose("chen").until("22:50")
    found = report(night.lose("dan").until("22:52").restore("dan").until("22:59"), 1)
    assert told(found, "outages") == [
        "`ana` down 5m, 22:30 to 22:35: disconnected; 1 shorter one",
        "`dan` down 2m, 22:50 to 22:52: disconnected",
    ]
    assert [(each["name"], each["lasted_s"]) for each in values(found, "outages")] == [
        ("chen", 1140),
        ("ana", 540),
        ("ben", 540),
        ("ana", 300),
        ("ana", 120),
        ("dan", 120),
    ]


# Flapping.


def flap(night: Night, name: str) -> Night:
    for _ in range(8):
        night.lose(name).poll(2).restore(name).poll(2)
    return night


def test_flapping_ends_with_the_run_of_envwatch() -> None:
    night = flap(Night().add("ana", "ben").poll(2), "ana")
    (flapper,) = values(report(night), "flapping")
    assert flapper["still"]
    assert flapper["times"][-1]["ended_at"] == iso(night.at)
    assert told(report(night), "flapping")[0].startswith("`ana` since 22:06, still; 8 outages, 8m down in all")
    ended_at = night.at - 30_000.0
    night.stop_for(1_200_000).poll(4)
    (flapper,) = values(report(night), "flapping")
    assert (flapper["still"], flapper["times"][-1]["ended_at"]) == (False, iso(ended_at))


def test_a_flapper_has_the_last_time_and_the_number_of_times_before() -> None:
    night = flap(flap(Night().add("ana", "ben").poll(2), "ana").until("23:59"), "ana").until("02:00")
    (line,) = told(report(flap(night, "ben"), 8), "flapping")[1:]
    assert line == "`ben` since 02:05, still; 8 outages, 8m down in all"
    (line,) = told(report(night, 8), "flapping")[:1]
    assert ", and 1 time before; 16 outages, 16m down in all" in line


# Modes, versions and other changes.


def test_a_row_off_the_list_is_not_unrestricted_and_an_offline_row_is() -> None:
    night = Night().add("ana", "ben", "chen", currentMode="unrestricted").add("dan", "eve", "fay").until("22:10")
    night.remove("ana").lose("ben").change("dan", currentMode="unrestricted").until("22:20")
    found = report(night, 1)
    assert [(each["name"], each["up"]) for each in values(found, "unrestricted")] == [
        ("dan", True),
        ("chen", True),
        ("ben", False),
    ]
    assert told(found, "unrestricted") == [
        "`dan` since 22:10",
        "`chen` since before 21:20",
        "`ben` since before 21:20, offline",
    ]


def test_changes_of_modes_are_told_unless_the_row_is_still_unrestricted() -> None:
    night = Night().add("ana", "ben", "chen", "dan").poll(2)
    night.change("ana", currentMode="unrestricted").until("22:05").change("ana", currentMode="standard")
    night.change("ben", currentMode="memory").until("22:10").change("chen", currentMode="unrestricted")
    found = report(night.until("22:20"), 1)
    assert told(found, "changes") == [
        "`ana` (22:01) to mode `unrestricted`",
        "`ana` (22:05) to mode `standard`",
        "`ben` (22:05) to mode `memory`",
    ]
    assert [(each["name"], each["after"]) for each in values(found, "changes")] == [
        ("ana", "unrestricted"),
        ("ana", "standard"),
        ("ben", "memory"),
        ("chen", "unrestricted"),
    ]


def test_old_versions_are_told_the_most_frequent_first_and_steps_back_are_changes() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").change("ana", version="0.34.13").until("22:20")
    night.change("ana", version="0.33.1").change("ben", version="0.34.13").until("22:30")
    found = report(night)
    assert told(found, "behind") == ["`ana` on `0.33.1` instead of `0.34.12`"]
    assert [(each["name"], each["version"]) for each in values(found, "behind")] == [("ana", "0.33.1")]
    assert told(found, "changes") == [
        "`ana` (22:10) and `ben` (22:20) to version `0.34.13`",
        "`ana` (22:20) back to version `0.33.1`",
    ]
    night = Night().add("ana", "ben", "chen", "dan", "eve").change("ana", version="0.33.1")
    for name in ("ben", "chen"):
        night.change(name, version="0.33.2")
    assert [line[:5] for line in told(report(night.poll(2)), "behind")] == ["`ben`", "`ana`"]


def test_new_gone_and_renamed_rows_are_told() -> None:
    night = Night().add("ana", "ben", "chen", "dan")
    night.monitor = replace(night.monitor, policies={NO_PROFILE: AlertPolicy(alert=compile_matcher("id:none"))})
    night.until("22:10").add("eve").change("ana", connectionName="ana-2")
    night.until("22:20").remove("ben", "chen").until("22:30").restore("chen")
    found = report(night.until("22:35"), 1)
    assert told(found, "changes")[:1] == ["`eve` (22:10) new"]
    assert told(found, "changes")[-1:] == ["`ana` (22:10) renamed to `ana-2`"]
    assert not any("left the list" in line for line in told(found, "changes")), "the sections before tell of both"
    assert [each["name"] for each in values(found, "changes") if each["kind"] == "gone"] == ["ben", "chen"]
    later = report(night.until("23:30"), 2)
    assert "`ben` (22:20) left the list" in told(later, "changes")
    assert "ben" not in names(later, "down"), "the fleet forgets a row after an hour"


def test_a_row_begins_or_stops_to_alert_with_time_and_reason() -> None:
    night = Night().add("ana", "ben").until("22:30")
    found = recorded(night.history, night.wall, 1)
    ana, ben = found.last.profile_state.environments.values()
    at = ServerMs(night.wall - 600_000)
    events = (
        ana.event(Kind.DOES_NOT_PAGE, at, reason=clean("up 88 % of 7 days")),
        ben.event(Kind.PAGES, at, reason=clean("up 90 % of 7 days")),
    )
    profile = build_report(replace(found, events=(*found.events, *events)), ZONE)
    assert told(profile, "changes") == [
        "`ben` (22:20) pages from now on: `up 90 % of 7 days`",
        "`ana` (22:20) no longer pages: `up 88 % of 7 days`",
    ]
    _, first = values(profile, "changes")
    assert (first["id"], first["kind"], first["reason"]) == ("ana", "does-not-page", "up 88 % of 7 days")


def test_the_least_available_rows_come_first_and_rows_never_up_last() -> None:
    night = Night().add("ana", "ben", "chen").add("old", "older", down_h=30).until("22:10").lose("ana")
    night.until("22:40").restore("ana").lose("ben").until("22:46").restore("ben").until("23:00")
    found = report(night, 1)
    assert told(found, "availability") == [
        "`ana` up 50.0 %, down 30m in 1 outage",
        "`ben` up 90.0 %, down 6m in 1 outage",
        "`chen` up 100 %",
        "`old` and `older` never up",
    ]
    assert [each["outages"] for each in values(found, "availability")] == [1, 1, 0, 1, 1]


# JSON.


def shape(value: Any) -> Any:
    """Return names and types of a JSON value; of a list, the first element's."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


def test_the_json_has_these_names_and_types() -> None:
    row = {"id": "str", "name": "str"}
    times = {"began_at": "str", "ended_at": "str"}
    incident = {
        "began_at": "str",
        "kind": "str",
        "environments": [row],
        "shared": "str",
        "pods": {"p-7": "int"},
        "found_after_gap": "bool",
        "still_down": [row],
        "back_at": "str",
        "needless": "int",
    }
    down = {"state": "str", "since": "str", "lasted_s": "float", "found_after_gap": "bool", "pages": "bool"}
    outage = {"began_at": "str", "ended_at": "NoneType", "lasted_s": "float", "reason": "str", "seen_s": "float"}
    outage["pages"] = "bool"
    counts = dict.fromkeys(("total", "paging", "other_off", "late", "online", "old", "replaced", "gone"), "int")
    assert shape(document(whole_night())[0]) == {
        "profile": "str",
        "host": "str",
        "watch": {"watched_s": "float", "period_s": "float", "share": "float", "clock": "NoneType"},
        "fleet": {"listed_at": "str", "age_s": "float", **counts, "unknown": [], "newest_version": "str"},
        "down": [
            row | down | {"reason": "str", "pod": "str", "acknowledged": "NoneType", "silenced_until": "NoneType"}
        ],
        "unrestricted": [row | {"since": "str", "up": "bool"}],
        "incidents": [incident],
        "outages": [row | outage],
        "flapping": [row | {"times": [times], "still": "bool", "outages": "int", "down_s": "float"}],
        "changes": [row | dict.fromkeys(("kind", "at", "before", "after"), "str") | {"reason": "NoneType"}],
        "behind": [row | {"version": "str"}],
        "unseen": [{"kind": "str", **times, "lasted_s": "float", "cause": "str", "reason": "NoneType"}],
        "availability": [row | {"share": "float", "down_s": "float", "outages": "int"}],
    }


def test_left_out_records_are_told() -> None:
    night = Night().add("ana").until("06:00")
    day, at = 1_795_564_800_000.0, night.wall - 3_000_000.0
    left_out = [
        LeftOut("history", day, day + 86_400_000, clean("its end is [damaged](x)")),
        LeftOut("poll", at, at + 60_000, clean("damaged"), 12),
        LeftOut("event", at, at, clean("damaged"), 1),
    ]
    found = build_report(replace(recorded(night.history, night.wall), left_out=left_out), ZONE)
    assert told(found, "unseen") == [
        "01:00 to Thu 26 Nov 01:00 (1d) history left out: `its end is [damaged](x)`",
        "05:10 to 05:11 (1m) 12 polls left out: `damaged`",
        "05:10 (0s) 1 event left out: `damaged`",
    ]
    history = values(found, "unseen")[0]
    assert (history["kind"], history["cause"], history["lasted_s"]) == ("left-out", "history left out", 86_400)


# Laws.


HAPPENINGS: dict[str, Callable[[Night, str, int], Night]] = {
    "lose": lambda night, name, _: night.lose(name),
    "restore": lambda night, name, _: night.restore(name),
    "freeze": lambda night, name, _: night.freeze(name),
    "remove": lambda night, name, _: night.remove(name),
    "mode": lambda night, name, _: night.change(name, currentMode="unrestricted"),
    "version": lambda night, name, number: night.change(name, version=f"0.35.{number}"),
    "fail": lambda night, _, number: night.fail_times(number + 1),
    "sleep": lambda night, _, number: night.sleep_for(number * 60_000 + 10_000),
    "stop": lambda night, _, number: night.stop_for(number * 60_000 + 10_000),
    "wait": lambda night, _, number: night.poll(number + 1),
}


def life(actions: list[tuple[str, int]]) -> Night:
    names = [f"m{number}" for number in range(5)]
    night = Night().add(*names).add("old", down_h=100).poll(2)
    for action, number in actions:
        HAPPENINGS[action](night, names[number], number).poll()
    return night


ACTIONS = st.lists(st.tuples(st.sampled_from(sorted(HAPPENINGS)), st.integers(0, 4)), max_size=25)


def durations(value: Any) -> Iterator[float]:
    """Yield the values of all JSON fields whose names end with `_s`."""
    for name, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(each, (dict, list)):
            yield from durations(each)
        elif str(name).endswith("_s") and each is not None:
            yield each


@settings(max_examples=60)
@given(ACTIONS, st.integers(0, 20), st.integers(1, 60))
@example([("lose", 0), ("stop", 1), ("restore", 0)], 0, 60)
@example([("remove", 0), ("wait", 2), ("stop", 4)], 1, 60)
def test_after_any_events_every_down_row_is_named_once_and_all_figures_fit(
    actions: list[tuple[str, int]], steps_back: int, minutes: int
) -> None:
    night = life(actions)
    until = night.at - steps_back * 5_000
    what = recorded_in(
        night.history, WallMs(until - minutes * 60_000), WallMs(until), profile=clean("work"), host=clean("h")
    )
    if what is None:
        return
    profile = build_report(what)
    rows = what.last.profile_state.environments
    down = [id_ for id_, tracked in rows.items() if not tracked.verdict.is_up]
    assert sorted(names(profile, "down")) == sorted(down)
    (found,) = document(profile)
    if (fleet := found["fleet"]) is not None:
        counts = ("paging", "other_off", "late", "online", "old", "replaced", "gone")
        assert sum(fleet[name] for name in counts) == fleet["total"] == len(rows)
        assert not fleet["unknown"]
    assert all(each >= 0 for each in durations(found))
    gaps = [each for each in values(profile, "unseen") if each["kind"] == "gap"]
    unseen = sum(each["lasted_s"] for each in gaps)
    assert found["watch"]["watched_s"] + unseen == pytest.approx(found["watch"]["period_s"])
    begin, end = (iso(at) for at in what.span)
    assert all(begin <= each["began_at"] < (each["ended_at"] or "9") for each in gaps)
    assert all(each["ended_at"] is None or each["ended_at"] <= end for each in gaps)
    assert all((each["share"] == 1) == (not each["outages"]) for each in found["availability"])
    assert all(0 <= each["share"] <= 1 for each in found["availability"])
    for incident in found["incidents"]:
        assert all(each in incident["environments"] for each in incident["still_down"])
    assert all(each["began_at"] is None or each["began_at"] <= end for each in found["outages"])
    named = Counter(re.findall(r"`(m[0-9]|old)`", "\n".join(told(profile, "down"))))
    assert named == Counter(dict.fromkeys(down, 1))
