"""The report on a period: content, and completeness over all environments."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.eventful_life import Life
from support.markdown import HOSTILE, assert_is_harmless
from support.memory_history import MemoryHistory
from support.night import HOUR_MS, ZONE, Night, eventful_night

from envwatch.fleet.alerting.acknowledgements import Ack
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.alerting.silences import silence_of_query
from envwatch.fleet.events import NO_PROFILE, Event, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.presence import DISCONNECTED, GONE, UNTIMED
from envwatch.fleet.profile_state import Fleet
from envwatch.fleet.watched_time import Span
from envwatch.history.past import DamagedError, LeftOut, Moment
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.outcome import Cause, RecordedPoll
from envwatch.model.text import clean
from envwatch.views.events.matching import matcher_of
from envwatch.views.report.findings import first_after, losses_together
from envwatch.views.report.markdown import ReportClock, markdown_of
from envwatch.views.report.profile_report import Recorded, matching, recorded_in, report_of, rows_of
from envwatch.views.report.values import ProfileReport, Report, json_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envwatch.fleet.alerting.silences import Silence
    from envwatch.fleet.presence import Verdict
    from envwatch.history.past import Past

GOLDEN = Path(__file__).with_name("report_of_a_night.md")


def loss_of(id_: str, incident: str | None = None) -> Event:
    return Event(
        kind=Kind.OFFLINE, at=ServerMs(0.0), id=clean(id_), incident=None if incident is None else clean(incident)
    )


def recorded(past: Past, until: float, hours: float = 8) -> Recorded:
    since = WallMs(until - hours * HOUR_MS)
    found = recorded_in(past, since, WallMs(until), profile=clean("work"), host=clean("api.letta.com"))
    assert found is not None
    return found


def whole(profile: ProfileReport) -> Report:
    since, until = (WallMs(at) for at in profile.period)
    return Report(since=since, until=until, made_at=until, filter=None, profiles=[profile])


def report(night: Night, hours: float = 8) -> ProfileReport:
    return report_of(recorded(night.history, night.wall, hours))


def markdown(profile: ProfileReport) -> str:
    return markdown_of(whole(profile), ZONE)


def lines(night: Night, hours: float = 8) -> list[str]:
    return markdown(report(night, hours)).splitlines()


def test_the_report_of_a_night_is_the_handover_that_it_was_written_to_be() -> None:
    """After an intended change, write `markdown(report(eventful_night()))` into the file, and read the file."""
    assert markdown(report(eventful_night())) == GOLDEN.read_text(encoding="utf-8")


def test_a_quiet_night_is_three_sentences_and_what_was_looked_at() -> None:
    night = Night().add("ana", "ben").until("06:00")
    fine = (
        "Nothing is down. No environments were lost together. No other outage came and went. None flapped. "
        "No mode changed, and none is unrestricted. None is behind `0.34.12`. None is new, gone or renamed. "
        "Nothing went unseen. All were up all of the time watched."
    )
    assert lines(night) == [
        "# envwatch: `work` on `api.letta.com`",
        "",
        "Tue 24 Nov 22:00 to Wed 25 Nov 06:00 (8h), times in CET (UTC+1).",
        "All of it was watched.",
        "",
        "2 of 2 up, by the listing of 05:59 (30s old).",
        "",
        fine,
    ]


def test_losses_together_are_the_losses_of_an_incident_or_of_a_group_with_the_groups() -> None:
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


# Long lists.


@pytest.mark.parametrize(("count", "shown"), [(13, 13), (14, 12), (500, 12)])
def test_a_long_list_of_losses_is_bounded_and_says_how_many_more(count: int, shown: int) -> None:
    names = [f"web-{number}" for number in range(count)]
    night = Night().add(*names, "db").poll(2).lose(*names).poll(2)
    text = lines(night, hours=1)
    down = text[text.index(f"## Still down: {count}") + 1 :]
    assert sum("disconnected, pod `pod-1`" in line for line in down) == shown
    assert (f"- and {count - shown} more" in down) == (shown < count)
    assert any(
        f"{count} went offline together" in line and f"and {count - 4} more. None is back." in line for line in text
    )
    assert max(map(len, text)) < 400
    assert len(json.loads(json_of(whole(report(night, hours=1))))["profiles"][0]["down"]) == count


# Times.


@pytest.mark.parametrize(
    ("begins", "hours", "headline", "lost"),
    [
        ("2026-11-24 22:00", 8, "Tue 24 Nov 22:00 to Wed 25 Nov 06:00 (8h), times in CET (UTC+1).", "since 05:59"),
        ("2026-11-24 06:00", 24, "Tue 24 Nov 06:00 to Wed 25 Nov 06:00 (1d), times in CET (UTC+1).", "since 05:59"),
        (
            "2026-11-24 05:00",
            25,
            "Tue 24 Nov 05:00 to Wed 25 Nov 06:00 (1d 1h), times in CET (UTC+1).",
            "since Wed 25 Nov 05:59",
        ),
        ("2026-10-24 22:00", 8, "Sat 24 Oct 22:00 CEST to Sun 25 Oct 05:00 CET (8h).", "since 04:59 CET"),
        (
            "2026-12-31 22:00",
            8,
            "Thu 31 Dec 2026 22:00 to Fri 01 Jan 06:00 (8h), times in CET (UTC+1).",
            "since 05:59",
        ),
    ],
)
def test_times_are_short_and_the_zone_is_named_once_or_with_each(
    begins: str, hours: int, headline: str, lost: str
) -> None:
    night = Night(begins)
    night.at += hours * HOUR_MS - 120_000
    night.add("ana", "ben").poll(2).lose("ana").poll(2)
    text = lines(night, hours)
    assert text[2] == headline
    assert any(line.startswith(f"- `ana` offline {lost} (30s): disconnected") for line in text)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "times in UTC"),
        ("Europe/Berlin", "times in CET (UTC+1)"),
        ("Asia/Kathmandu", "times in UTC+5:45"),
        ("America/Sao_Paulo", "times in UTC-3"),
    ],
)
def test_a_zone_is_named_by_letters_and_the_offset(zone: str, text: str) -> None:
    night = Night().add("ana").poll(2)
    assert f"), {text}." in markdown_of(whole(report(night, 1)), ZoneInfo(zone))


def outages(night: Night, hours: float = 1) -> list[tuple[str, str | None, str | None]]:

    def clock(at: float | None) -> str | None:
        return None if at is None else f"{datetime.fromtimestamp(at / 1000, ZONE):%H:%M:%S}"

    found = sorted(report(night, hours).outages, key=lambda each: (each.subject.name, each.ended_at or 0.0))
    return [(each.subject.name, clock(each.began_at), clock(each.ended_at)) for each in found]


def test_an_outage_that_began_before_the_period_has_its_begin() -> None:
    night = Night().add("ana", "ben").until("22:10").lose("ana").until("22:30").restore("ana").until("23:00")
    assert outages(night, hours=0.75) == [("ana", "22:10:00", "22:30:00")]
    assert "- `ana` for 20m, 22:10 to 22:30: disconnected" in lines(night, hours=0.75)


@pytest.mark.parametrize(
    ("minutes", "period_h", "text"),
    [
        (24 * 60 - 1, 24, "22:01"),
        (24 * 60, 24, "Mon 23 Nov 22:00"),
        (60, 24, "21:00"),
        (60, 24.1, "Tue 24 Nov 21:00"),
        (-1, 24, "Tue 24 Nov 22:01"),
    ],
)
def test_a_time_of_day_stands_alone_within_a_day_before_the_end(minutes: int, period_h: float, text: str) -> None:
    end = datetime(2026, 11, 24, 22, 0, tzinfo=ZONE).timestamp() * 1000
    assert ReportClock(end - period_h * HOUR_MS, end, ZONE).text(end - minutes * 60_000) == text


def test_what_appears_offline_has_been_down_since_then() -> None:
    night = Night().add("ana").until("22:10").add("ben", down_h=3).until("22:30").restore("ben").until("22:45")
    assert outages(night) == [("ben", "22:10:00", "22:30:00")]


def test_where_nothing_says_what_changed_between_two_runs_a_begin_is_not_known() -> None:
    night = Night(compares_runs=False).add("ana", "ben").poll(2).lose("ana").until("22:10").restore("ana")
    night.until("22:20").lose("ana").stop("22:30").until("22:40")
    assert outages(night) == [("ana", None, None), ("ana", "22:01:00", "22:10:00")]
    (down,) = report(night).down
    assert (down.since, down.found_after_gap) == (night.at - 20 * 60_000.0, False)
    night = Night(compares_runs=True).add("ana", "ben").until("22:20").lose("ana").stop("22:30").until("22:40")
    assert outages(night) == [("ana", "22:30:00", None)]
    assert "- `ana` offline since 22:30 or before (9m 30s, found after a gap): disconnected, pod `pod-1`" in lines(
        night, 1
    )


def test_what_flapped_at_the_end_of_a_run_is_not_known_to_flap_after_it() -> None:
    night = Night().add("ana", "ben").poll(2)
    for _ in range(8):
        night.lose("ana").poll(2).restore("ana").poll(2)
    (flapper,) = report(night).flapping
    assert flapper.is_flapping
    assert flapper.times[-1].until == float(night.at)
    ended_at = night.at - 30_000.0
    night.stop_for(1_200_000).poll(4)
    (flapper,) = report(night).flapping
    assert not flapper.is_flapping
    assert flapper.times[-1].until == ended_at


def test_what_left_the_list_is_not_unrestricted_any_more_and_what_is_offline_still_is() -> None:
    night = Night().add("ana", "ben", "chen", currentMode="unrestricted").add("dan", "eve", "fay").until("22:10")
    night.remove("ana").lose("ben").until("22:20")
    assert [(each.subject.name, each.is_up) for each in report(night).unrestricted] == [
        ("chen", True),
        ("ben", False),
    ]
    assert "- `ben` since before 21:20, offline" in lines(night, hours=1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "All of it was watched."), (91, "Watched 97.5 % of it; 1m 31s not seen.")]
)
def test_the_newest_listing_holds_until_it_would_be_blind(seconds: int, text: str) -> None:
    """At 30 s between polls, the listing is blind after 90 s."""
    night = Night().add("ana").until("23:00")
    until = night.at - 30_000 + seconds * 1000
    watched = recorded(night.history, until, (until - (night.at - HOUR_MS)) / HOUR_MS)
    assert markdown(report_of(watched)).splitlines()[3] == text


def test_what_still_fails_or_is_quarantined_at_the_end_is_said_before_anything_else() -> None:
    night = Night().add("ana", "ben", "chen").until("05:40").fail("06:00", Cause.UNAUTHORIZED)
    text = lines(night)
    assert text[5] == "3 of 3 up, by the listing of 05:39 (20m 30s old)."
    assert text[6] == "Careful, this may be out of date: key refused: `key refused`, since 05:39."
    assert "- since 05:39 (20m 30s): key refused: `key refused`" in text
    night = Night().add("ana", "ben", "chen").until("05:59").empty(2)
    assert lines(night)[6].startswith("Careful, this may be out of date: not believed: `the list came back empty`")


def test_what_cannot_be_judged_is_named_and_is_not_said_to_be_down() -> None:
    night = Night().add("ana", "ben").add("clock", lastHeartbeat=1_795_000_000.0).until("22:10")
    profile = report(night)
    assert "2 of 3 up, 1 not known (`clock`), by the listing of 22:09 (30s old)." in markdown(profile).splitlines()
    assert not profile.down
    assert [each.subject.name for each in profile.availability] == ["ana", "ben"]


def test_a_row_that_never_had_a_possible_time_is_not_known_and_not_down() -> None:
    night = Night().add("ana", "ben").poll(2)
    found = recorded(night.history, night.wall, 1)
    state = found.last.profile_state
    rows = {**state.environments, clean("ana"): replace(state.environments[clean("ana")], verdict=UNTIMED)}
    profile = report_of(replace(found, last=replace(found.last, profile_state=replace(state, environments=rows))))
    assert "1 of 2 up, 1 not known (`ana`), by the listing of" in markdown(profile)
    assert not profile.down


@pytest.mark.parametrize(("less_ms", "is_old"), [(0, True), (1, False)])
@pytest.mark.parametrize("verdict", [GONE, DISCONNECTED])
def test_a_row_is_old_from_a_day_on(verdict: Verdict, less_ms: float, *, is_old: bool) -> None:
    night = Night().add("ana", "ben").poll(2)
    found = recorded(night.history, night.wall, 1)
    state = found.last.profile_state
    since = ServerMs(state.clock.server_time(found.last.now.wall) - 86_400_000 + less_ms)
    lost = replace(state.environments[clean("ana")], verdict=verdict, since_at=since)
    lost = replace(lost, environment=replace(lost.environment, last_heartbeat_at=None, last_seen_at=since))
    rows = {**state.environments, clean("ana"): lost}
    profile = report_of(replace(found, last=replace(found.last, profile_state=replace(state, environments=rows))))
    assert [(each.subject.name, each.is_old) for each in profile.down] == [("ana", is_old)]


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


def test_rows_that_need_a_person_come_first_then_acknowledged_silenced_and_old_rows_each_the_newest_first() -> None:
    found = rows_down(older=70, newest=60, acked=50, silenced=40, old=90_000)
    acks = {clean("acked"): Ack(found.last.now.wall, clean(""))}
    found = replace(found, last=replace(found.last, acks=acks))
    silence = silence_of_query(
        matcher_of("id:silenced"), WallMs(found.last.now.wall - 60_000), timedelta(hours=1), clean(""), clean("ana")
    )
    profile = report_of(silenced_by(silence, found))
    assert [each.subject.name for each in profile.down] == ["newest", "older", "acked", "silenced", "old"]


def test_an_incident_began_with_the_first_loss_and_is_of_the_most_frequent_kind() -> None:
    found = rows_down(ana=70, ben=60, chen=50)
    rows = found.last.profile_state.environments
    kinds = {"ana": Kind.GONE, "ben": Kind.OFFLINE, "chen": Kind.OFFLINE}
    losses = [
        replace(rows[clean(name)].event(kind, ServerMs(found.last.now.wall - ago_s * 1_000)), incident=clean("inc-1"))
        for (name, kind), ago_s in zip(kinds.items(), (60, 70, 50), strict=True)
    ]
    (incident,) = report_of(replace(found, events=losses)).incidents
    assert (incident.began_at, incident.kind) == (found.last.now.wall - 70_000, Kind.OFFLINE)
    assert (incident.needless, incident.back_at, len(incident.still_down)) == (0, None, 3)
    assert not incident.found_after_gap
    gap = Event(kind=Kind.WHILE_BLIND, at=losses[0].at, members=(losses[0],))
    (incident,) = report_of(replace(found, events=[gap, *losses[1:]])).incidents
    assert (incident.found_after_gap, incident.shared) == (True, None)
    groups = [
        Event(kind=Kind.TOGETHER, of=Kind.OFFLINE, at=losses[1].at, members=tuple(losses[1:]), reason=clean("pod p-1")),
        Event(kind=Kind.TOGETHER, of=Kind.ONLINE, at=losses[0].at, members=(losses[0],), reason=clean("pod p-2")),
    ]
    (incident,) = report_of(replace(found, events=[gap, *groups])).incidents
    assert (incident.found_after_gap, incident.shared) == (True, "pod p-1")


def test_an_incident_lasts_until_the_last_row_is_back() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").lose("ana", "ben").until("22:20").restore("ana")
    night.until("22:30").restore("ben").until("22:40")
    (line,) = [line for line in section(markdown(report(night, 1)), "Lost together") if line]
    assert line.endswith("`ana` and `ben`. All back within 20m.")


@pytest.mark.parametrize(("more_s", "is_silenced"), [(0, False), (1, True)])
def test_a_silence_that_ends_now_is_over(more_s: float, *, is_silenced: bool) -> None:
    found = rows_down(ana=70)
    begin, lasts = WallMs(found.last.now.wall - 3_600_000), timedelta(seconds=3_600 + more_s)
    silence = silence_of_query(matcher_of("ana"), begin, lasts, clean(""), clean("ana"))
    (down,) = report_of(silenced_by(silence, found)).down
    assert (down.silenced is not None) is is_silenced


@pytest.mark.parametrize(("at", "first"), [(0.5, 1.0), (1.0, 2.0), (1.5, 2.0), (2.0, 9.0), (5.0, 9.0)])
def test_the_first_of_moments_after_a_moment(at: float, first: float) -> None:
    assert first_after([ServerMs(1.0), ServerMs(2.0)], ServerMs(at), ServerMs(9.0)) == first


def test_names_that_look_alike_have_the_end_of_their_ids() -> None:
    night = Night().add("id-of-aaaa", "id-of-bbbb", connectionName="web").add("ana").poll(2)
    night.lose("id-of-aaaa", "id-of-bbbb").poll(2)
    named = [line.split(" offline")[0] for line in section(markdown(report(night)), "Still down")]
    assert [name for name in named if name] == ["- `web` `aaaa`", "- `web` `bbbb`"]


@pytest.mark.parametrize("latency_ms", [0, 200, 5_000])
def test_what_was_lost_while_nothing_was_seen_is_not_said_to_be_lost_together(latency_ms: int) -> None:
    """The poll of the first listing after the gap is recorded with the answer, later than the events."""
    night = Night(latency_ms=latency_ms).add("ana", "ben", "chen").until("22:10").lose("ana", "ben")
    night.stop("22:30").until("22:40")
    (line,) = [line for line in section(markdown(report(night)), "Lost together") if line]
    assert line == "- 22:30 2 were found offline after a gap, all on pod `pod-1`: `ana` and `ben`. None is back."
    assert outages(night) == [("ana", "22:30:00", None), ("ben", "22:30:00", None)]
    assert [gap.cause for gap in report(night, 0.5).watch.gaps] == ["envwatch did not run"]


def test_rows_that_need_nobody_are_counted_beside_the_rows_of_their_outage() -> None:
    night = Night().add("ana", "ben", "mac-1").add("chen", podId="pod-2")
    night.monitor = replace(night.monitor, policies={NO_PROFILE: AlertPolicy(alert=matcher_of("!id:mac-1"))})
    night.until("22:10").lose("ana", "ben", "mac-1").until("22:40")
    (line,) = [line for line in section(markdown(report(night)), "Lost together") if line]
    what = "2 went offline together (+1 need nobody), all `pod pod-1`"
    assert line == f"- 22:10 {what}: `ana`, `ben` and `mac-1`. None is back."


def test_a_loss_that_a_single_listing_between_two_gaps_found_belongs_to_its_outage() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").lose("ana", "ben").stop("22:30").poll().stop("22:40")
    night.until("22:50")
    assert outages(night) == [("ana", "22:30:00", None), ("ben", "22:30:00", None)]
    (line,) = [line for line in section(markdown(report(night)), "Lost together") if line]
    assert line.endswith("None is back.")


def test_a_gap_before_a_run_of_a_single_listing_is_named_by_that() -> None:
    night = Night(latency_ms=200).add("ana", "ben", "chen").until("22:10").lose("ana").stop("22:30").poll()
    night.lose("ben").stop("22:40").until("22:50")
    assert {gap.cause for gap in report(night, 0.5).watch.gaps} == {"envwatch did not run"}


def test_what_was_lost_while_envwatch_was_started_anew_has_its_begin() -> None:
    night = Night(latency_ms=200).add("ana", "ben", "chen").until("22:10").lose("ana").stop_for(1_000).until("22:40")
    assert outages(night) == [("ana", "22:10:01", None)]


@pytest.mark.parametrize(
    ("skew_s", "warnings"),
    [
        (4, []),
        (90, ["this machine's clock is 1m 30s ahead of the server's; ages are by the server's"]),
        (-3600, ["this machine's clock is 1h behind the server's; ages are by the server's"]),
    ],
)
def test_times_are_the_servers_and_a_clock_that_is_wrong_is_named(skew_s: int, warnings: list[str]) -> None:
    night = Night(skew_ms=skew_s * 1000).add("ana", "ben").until("22:10").lose("ana").until("22:20").restore("ana")
    night.until("22:30").stop("22:40").until("23:00")
    text = lines(night, hours=1)
    assert text[2].startswith("Tue 24 Nov 22:00 to 23:00 (1h)")
    assert "- `ana` for 10m, 22:10 to 22:20: disconnected" in text
    assert "- 22:29 to 22:40 (10m 30s): envwatch did not run" in text
    assert [line for line in text if "clock is" in line] == [f"- {warning}" for warning in warnings]


def test_what_goes_back_to_an_older_version_is_named() -> None:
    night = Night().add("ana", "ben", "chen").until("22:10").change("ana", version="0.34.13").until("22:20")
    night.change("ana", version="0.33.1").change("ben", version="0.34.13").until("22:30")
    found = [line for line in section(markdown(report(night)), "Versions") if line]
    assert found == [
        "- `0.33.1` (1): `ana`",
        "- 3 changes of version in `ana` and `ben`: to `0.34.13` (2) and `0.33.1` (1)",
        "- went back to an older version (1): `ana`",
    ]


def test_rows_that_began_or_stopped_to_alert_are_named_with_time_and_reason() -> None:
    night = Night().add("ana", "ben").until("22:30")
    found = recorded(night.history, night.wall, 1)
    ana, ben = found.last.profile_state.environments.values()
    at = ServerMs(night.wall - 600_000)
    events = (
        ana.event(Kind.NOT_ALERTING, at, reason=clean("up 88 % of 7 days")),
        ben.event(Kind.ALERTING, at, reason=clean("up 90 % of 7 days")),
    )
    profile = report_of(replace(found, events=(*found.events, *events)))
    text = markdown(profile)
    assert [line for line in section(text, "Began or stopped to alert: 2") if line] == [
        "- `ana` counts no more since 22:20: `up 88 % of 7 days`",
        "- `ben` counts since 22:20: `up 90 % of 7 days`",
    ]
    (first, _) = json.loads(json_of(whole(profile)))["profiles"][0]["alerting"]
    assert (first["id"], first["name"], first["alerting"]) == (ana.environment.id, "ana", False)
    assert "to alert" not in markdown(report(night))


def test_of_an_outage_whose_begin_is_not_known_the_least_length_is_said() -> None:
    """A row with an impossible last-seen instant gives no begin."""
    night = Night().add("ana", "ben").lose("ana", lastSeenAt=1_000.0).until("22:20").restore("ana").until("22:30")
    assert "- `ana` for at least 20m, until 22:20: disconnected" in lines(night, hours=0.5)


def test_without_any_listing_nothing_is_said_to_be_fine() -> None:
    night = Night().fail("22:10")
    text = lines(night, hours=1)
    assert "No listing came: what is up is not known." in text
    assert not any("Nothing is down" in line or "fine" in line for line in text)


# As JSON.


def shape(value: Any) -> Any:
    """Return names and types of a JSON value; of a list, the first element's."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


def promised_part(value: Any, promised: Any) -> Any:
    """Return a shape's promised part: further names may come at any time."""
    if isinstance(value, dict) and isinstance(promised, dict):
        return {name: promised_part(value[name], promised[name]) for name in value if name in promised}
    if isinstance(value, list) and isinstance(promised, list):
        return [promised_part(*each) for each in zip(value, promised, strict=True)]
    return value


def test_the_json_has_these_types_which_programs_rely_on() -> None:
    """Names without a type here are in docs/stability.md only."""
    environment = {"id": "str", "name": "str"}
    change = environment | {"at": "str", "before": "str", "after": "str"}
    arrival = environment | {"at": "str", "state": "str", "reason": "NoneType"}
    gap = {"began_at": "str", "ended_at": "str", "lasted_s": "float", "cause": "str", "reason": "NoneType"}
    incident = {
        "began_at": "str",
        "kind": "str",
        "environments": [environment],
        "shared": "str",
        "pods": {"p-7": "int"},
        "found_after_gap": "bool",
        "still_down": [environment],
        "back_at": "str",
    }
    down = {"state": "str", "since": "str", "lasted_s": "float", "found_after_gap": "bool", "reason": "str"}
    outage = {"began_at": "str", "ended_at": "NoneType", "lasted_s": "float", "seen_s": "float", "reason": "str"}
    times = [{"began_at": "str", "ended_at": "str"}]
    counts = dict.fromkeys(("total", "up", "late", "offline", "gone", "missing"), "int")
    profile = {
        "profile": "str",
        "host": "str",
        "fleet": {"listed_at": "str", "age_s": "float", **counts, "unknown": []},
        "watch": {
            "watched_s": "float",
            "period_s": "float",
            "share": "float",
            "gaps": [gap],
            "doubts": [gap | {"reason": "str"}],
            "clock": "NoneType",
        },
        "down": [environment | down | {"pod": "str", "acknowledged": "NoneType"}],
        "incidents": [incident],
        "outages": [environment | outage | {"incident": "NoneType"}],
        "flapping": [environment | {"times": times, "still": "bool", "outages": "int", "down_s": "float"}],
        "mode_changes": [change],
        "unrestricted": [environment | {"since": "str", "up": "bool"}],
        "newest_version": "str",
        "behind": [{"version": "str", "environments": [environment]}],
        "version_changes": [change],
        "appeared": [arrival],
        "gone": [arrival | {"reason": "str"}],
        "renamed": [change],
        "availability": [environment | {"share": "float", "down_s": "float", "outages": "int"}],
    }
    document = json.loads(json_of(whole(report(eventful_night()))))
    head = {"version": "int", "since": "str", "until": "str", "made_at": "str", "filter": "NoneType"}
    promised = head | {"profiles": [profile]}
    assert promised_part(shape(document), promised) == promised
    assert document["version"] == 1
    assert (document["since"], document["until"]) == ("2026-11-24T21:00:00.000Z", "2026-11-25T05:00:00.000Z")


def test_left_out_records_are_named_in_the_markdown_and_the_json() -> None:
    night = Night().add("ana").until("06:00")
    day, at = 1_795_564_800_000.0, night.wall - 3_000_000.0
    left_out = [
        LeftOut("history", day, day + 86_400_000, clean("its end is [damaged](x)")),
        LeftOut("poll", at, at + 60_000, clean("damaged"), 12),
        LeftOut("event", at, at, clean("damaged"), 1),
    ]
    profile = report_of(replace(recorded(night.history, night.wall), left_out=left_out))
    text = markdown(profile)
    assert text[text.index("## Left out") :].splitlines()[:4] == [
        "## Left out",
        "- the history of 2026-11-25 is left out: `its end is [damaged](x)`",
        "- 12 polls from 05:10 to 05:11 are left out: `damaged`",
        "- 1 event at 05:10 is left out: `damaged`",
    ]
    document = json.loads(json_of(whole(profile)))["profiles"][0]["left_out"]
    assert [(each["what"], each["count"]) for each in document] == [("history", None), ("poll", 12), ("event", 1)]
    assert document[0] == {
        "what": "history",
        "count": None,
        "began_at": "2026-11-25T00:00:00.000Z",
        "ended_at": "2026-11-26T00:00:00.000Z",
        "reason": "its end is [damaged](x)",
    }


class Damaged(MemoryHistory):
    """A history whose moments cannot be read in a time."""

    def __init__(self, history: MemoryHistory, since: float, until: float) -> None:
        self.__dict__ |= vars(history)
        self._lost = Span(ServerMs(since), ServerMs(until))

    def moment(self, poll: RecordedPoll) -> Moment:
        if self._lost.since <= poll.at <= self._lost.until:
            raise DamagedError("damaged")
        return super().moment(poll)


def test_a_report_ends_with_the_newest_readable_moment() -> None:
    night = Night().add("ana", "ben").until("05:30").lose("ana").until("06:00")
    lost = Damaged(night.history, night.wall - 40 * 60_000, night.wall)
    profile = report_of(recorded(lost, night.wall))
    assert [(each.what, each.count) for each in profile.left_out] == [("poll", 80)]
    assert not profile.down
    text = markdown(profile).splitlines()
    assert "Careful, this may be out of date: records left out: `damaged`, since 05:19." in text
    assert "- 80 polls from 05:20 to 05:59 are left out: `damaged`" in text


def test_a_report_begins_with_the_first_readable_moment() -> None:
    night = Night().add("ana").until("22:30").add("ben").until("23:00")
    begin = night.wall - HOUR_MS / 2
    found = recorded(Damaged(night.history, begin - HOUR_MS, begin + 60_000), night.wall, 0.5)
    assert begin + 60_000 < found.first.now.wall <= begin + 90_000
    assert found.left_out == []


def test_a_report_begins_with_the_last_poll_before_the_period() -> None:
    night = Night().add("ana").until("22:30").add("ben").until("23:00")
    found = recorded(night.history, night.wall, 0.5)
    assert night.wall - HOUR_MS / 2 - 30_000 <= found.first.now.wall < night.wall - HOUR_MS / 2


def test_the_rows_of_a_period_are_the_newest_states_of_all_rows_in_the_period() -> None:
    night = Night().add("ana", "ben").until("22:10").add("chen").until("22:20").remove("chen")
    night.change("ana", version="0.35.0").until("23:50")
    whole_period = recorded(night.history, night.wall, 2)
    found = rows_of(whole_period)
    assert found.keys() == {"ana", "ben", "chen"}
    nobody = replace(whole_period.last, profile_state=replace(whole_period.last.profile_state, environments={}))
    assert rows_of(replace(whole_period, last=nobody)).keys() == found.keys()
    assert rows_of(replace(whole_period, last=nobody))[clean("ana")].environment.version == "0.35.0"


def test_the_json_is_indented_by_two_spaces_and_has_a_version() -> None:
    night = Night().add("ana").poll(2)
    assert json_of(whole(report(night, 1))).startswith(b'{\n  "version": 1,\n  "since": "2026-11-24T')


def test_a_filter_leaves_what_was_found_at_the_begin_at_an_event_or_at_the_end() -> None:
    night = eventful_night()
    of_pod = matching(recorded(night.history, night.at), matcher_of("pod:p-7"))
    profile = report_of(of_pod)
    assert profile.fleet is not None
    assert (profile.fleet.total, profile.fleet.up) == (12, 11)
    assert [each.subject.name for each in profile.down] == ["edge-4"]
    assert [len(each.environments) for each in profile.incidents] == [12]
    assert len(profile.watch.gaps) == 3
    of_one = report_of(matching(recorded(night.history, night.at), matcher_of("name:chen-imac")))
    assert [each.after for each in of_one.mode_changes] == ["unrestricted", "standard"]
    assert not of_one.incidents
    text = markdown_of(dataclasses.replace(whole(profile), filter=clean("pod:p-7")), ZONE)
    assert "Only environments that match `pod:p-7`." in text.splitlines()


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


def durations(value: Any) -> Iterator[timedelta]:
    if isinstance(value, timedelta):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from durations(getattr(value, field.name))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from durations(each)


@settings(max_examples=60)
@given(ACTIONS, st.integers(0, 20), st.integers(1, 60))
@example([("lose", 0), ("stop", 1), ("restore", 0)], 0, 60)
@example([("remove", 0), ("wait", 2), ("stop", 4)], 1, 60)
def test_whatever_happened_every_environment_that_is_down_is_named_once_and_all_figures_fit(
    actions: list[tuple[str, int]], steps_back: int, minutes: int
) -> None:
    night = life(actions)
    until = night.at - steps_back * 5_000
    what = recorded_in(
        night.history, WallMs(until - minutes * 60_000), WallMs(until), profile=clean("work"), host=clean("h")
    )
    if what is None:
        return
    profile = report_of(what)
    profile_state = what.last.profile_state
    down = [id_ for id_, tracked in profile_state.environments.items() if not tracked.verdict.is_up]
    assert sorted(each.subject.id for each in profile.down) == sorted(down)
    if profile.fleet is not None:
        summary = profile.fleet
        assert summary.up + summary.offline + summary.gone + summary.missing == summary.total
        assert not summary.unknown
    assert all(each >= timedelta() for each in durations(profile))
    watch = profile.watch
    unseen = sum(gap.ended_at - gap.began_at for gap in watch.gaps)
    assert watch.watched / timedelta(milliseconds=1) + unseen == pytest.approx(watch.period / timedelta(milliseconds=1))
    assert all(profile.period.since <= gap.began_at < gap.ended_at <= profile.period.until for gap in watch.gaps)
    assert all(0 <= each.share <= 1 and (each.share == 1) == (not each.outages) for each in profile.availability)
    assert all(set(incident.still_down) <= set(incident.environments) for incident in profile.incidents)
    assert all(outage.began_at is None or outage.began_at <= profile.period.until for outage in profile.outages)
    names = Counter(re.findall(r"`([^`]*)`", "\n".join(section(markdown(profile), "Still down"))))
    assert all(names[id_] == 1 for id_ in down)
    document = json.loads(json_of(whole(profile)))
    assert [each["id"] for each in document["profiles"][0]["down"]] == [each.subject.id for each in profile.down]


def test_hostile_text_in_every_field_acts_nowhere_in_the_markdown_and_is_whole_in_the_json() -> None:
    life_of_all = Life([clean(text) or clean(f"text {number}") for number, text in enumerate(HOSTILE * 3)])
    end = life_of_all.moments[-1].now.wall
    steps = enumerate(life_of_all.steps, 1)
    hostile = report_of(
        Recorded(
            profile=clean(HOSTILE[0]),
            host=clean(HOSTILE[2]),
            since=WallMs(end - HOUR_MS),
            until=end,
            polls=[RecordedPoll(number, moment.now.wall, result, 1, 5.0) for number, (moment, result, _) in steps],
            events=life_of_all.events,
            first=life_of_all.moments[0],
            last=life_of_all.moments[-1],
        )
    )
    text = markdown(hostile)
    assert_is_harmless(text)
    assert {"Still down", "New, gone", "Not seen", "Versions"} <= {title for title in TITLES if f"## {title}" in text}
    names = {each.subject.name for each in hostile.down} | {each.subject.name for each in hostile.appeared}
    assert names
    assert all(json.dumps(name, ensure_ascii=False) in json_of(whole(hostile)).decode() for name in names)


TITLES = ("Still down", "Lost together", "Unrestricted", "Versions", "New, gone", "Not seen", "Availability")


def section(text: str, title: str) -> list[str]:
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return next((part.splitlines()[1:] for part in parts if part.startswith(title)), [])
