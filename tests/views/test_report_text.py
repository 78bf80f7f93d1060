"""The forms of a report: Markdown, times, JSON; the sentence for a chat, and the answer to an acknowledgement."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, key_of, listed, own_device_id, reading
from support.lives import Life
from support.markdown import HOSTILE, assert_is_harmless
from support.night import HOUR_MS, ZONE
from support.policies import soon
from support.reports import names, told

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.past import LeftOut
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import RecordedPoll, Slept
from envwatch.model.text import EMPTY, clean
from envwatch.views.report.chat import acknowledged_text, incident_sentence
from envwatch.views.report.document import ReportClock, code, code_note, code_text, render_markdown, report_json
from envwatch.views.report.document import listed as list_text
from envwatch.views.report.period import Recorded
from envwatch.views.report.sections import build_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.alerts.losses import Key
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=90), st.text("@`<>|:/a \\*_", max_size=90)))
def test_nothing_acts_in_the_code_span_of_any_text(text: str) -> None:
    for form in (code, code_text):
        span = form(clean(text))
        assert re.fullmatch(r"`[^`\n]+`", span)
        assert span[1] != " " != span[-2]
        assert_is_harmless(span)
    assert not re.search(r"[`<>|]|(?<![0-9A-Za-z])@", code_note(clean(text))[1:-1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hiro@laptop", "`hiro@laptop`"),
        ("@channel", "`(at)channel`"),
        ("a`b", "`a'b`"),
        ("https://x.example", "`https[:]//x.example`"),
        ("", "`–`"),
        ("x" * 40, f"`{'x' * 40}`"),
        ("x" * 41, f"`{'x' * 32}…{'x' * 7}`"),
    ],
)
def test_a_name_is_a_code_span(text: str, shown: str) -> None:
    assert code(clean(text)) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "a"), (2, "a and b"), (3, "a, b and c"), (4, "a, b and 2 more"), (1_002, "a, b and 1,000 more")],
)
def test_a_list_in_a_sentence_names_one_more_than_the_limit(count: int, text: str) -> None:
    assert list_text([*"abc", *"x" * 999][:count], 2) == text


def instant(text: str, zone: tzinfo = ZONE) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000


@pytest.mark.parametrize(
    ("since", "until", "zone", "headline"),
    [
        ("2026-11-24 22:00", "2026-11-25 06:00", ZONE, "Tue 24 Nov 2026 22:00 to Wed 25 Nov 2026 06:00 (8h)"),
        ("2026-11-24 05:00", "2026-11-25 06:00", ZONE, "Tue 24 Nov 2026 05:00 to Wed 25 Nov 2026 06:00 (1d 1h)"),
        ("2026-10-24 22:00", "2026-10-25 05:00", ZONE, "Sat 24 Oct 2026 22:00 UTC+02 to Sun 25 Oct 2026 05:00 (8h)"),
        ("2026-12-31 02:00", "2026-12-31 10:00", ZONE, "Thu 31 Dec 2026 02:00 to 10:00 (8h)"),
        ("2026-12-31 02:00", "2026-12-31 10:00", ZoneInfo("UTC"), "Thu 31 Dec 2026 02:00 to 10:00 (8h)"),
        ("2026-12-31 02:00", "2026-12-31 10:00", ZoneInfo("Asia/Kathmandu"), "Thu 31 Dec 2026 02:00 to 10:00 (8h)"),
    ],
)
def test_the_headline_has_the_dates_and_the_zone_once(since: str, until: str, zone: ZoneInfo, headline: str) -> None:
    zones = {"UTC": "UTC", "Asia/Kathmandu": "UTC+05:45"}
    clock = ReportClock(instant(since, zone), instant(until, zone), zone)
    assert clock.headline == f"{headline}, times in {zones.get(zone.key, 'UTC+01')}"


@pytest.mark.parametrize(("minute", "text"), [(59, "02:59 UTC+02"), (60, "02:00")])
def test_a_time_before_the_clocks_change_has_its_zone(minute: int, text: str) -> None:
    two_oclock = datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp() * 1000
    clock = ReportClock(two_oclock - HOUR_MS, two_oclock + 4 * HOUR_MS, ZONE)
    assert clock.text(two_oclock + minute * 60_000) == text


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


def test_the_json_is_indented_by_two_spaces_and_has_a_version() -> None:
    assert report_json([], since="2026-11-24T21:00:00.000Z", filter=None) == (
        b'{\n  "version": 2,\n  "since": "2026-11-24T21:00:00.000Z",\n  "filter": null,\n  "profiles": []\n}\n'
    )


def test_hostile_text_in_every_field_acts_nowhere_in_the_markdown_and_is_whole_in_the_json() -> None:
    life_of_all = Life([clean(text) or clean(f"text {number}") for number, text in enumerate(HOSTILE * 3)])
    end = life_of_all.moments[-1].now.wall
    steps = enumerate(life_of_all.steps, 1)
    hostile = build_report(
        Recorded(
            profile=clean(HOSTILE[0]),
            host=clean(HOSTILE[2]),
            query=clean(HOSTILE[3]),
            since=WallMs(end - HOUR_MS),
            until=end,
            polls=[RecordedPoll(number, moment.now.wall, result, 1, 5.0) for number, (moment, result, _) in steps],
            events=life_of_all.events,
            first=life_of_all.moments[0],
            last=life_of_all.moments[-1],
            left_out=[LeftOut("poll", end, end, clean(HOSTILE[1]), 1)],
        )
    )
    assert_is_harmless(render_markdown([hostile]))
    assert [part for part in ("down", "changes", "unseen") if not told(hostile, part)] == []
    exact = report_json([hostile]).decode()
    assert all(json.dumps(name, ensure_ascii=False) in exact for name in names(hostile, "down"))


# The sentence for a chat.


# `NOW` is 2025-10-09 08:53:20 UTC.
MINUTE = 60_000.0


def named(name: str, **changes: Any) -> Environment:
    return environment(**{"id": f"env-{name}", "connectionName": name, "deviceId": own_device_id(name)} | changes)


def lost(name: str, minutes_ago: float = 8, **changes: Any) -> Environment:
    seen = {"lastHeartbeat": NOW - minutes_ago * MINUTE, "lastSeenAt": NOW - minutes_ago * MINUTE}
    return named(name, **{"connectionId": None, "podId": None} | seen | changes)


def after(*outcomes: Outcome, profile: str = "prod") -> Monitor:
    monitor = Monitor.create({NO_PROFILE: Limits()}, profile_name=clean(profile))
    for outcome in outcomes:
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.awake if isinstance(outcome, Slept) else outcome.ended)
    return monitor


def said(monitor: Monitor, at: float = NOW, **how: Any) -> str:
    return incident_sentence([*monitor.fleet.environments], monitor, reading(at), how.pop("zone", UTC), **how)


def said_of(*rows: Environment, **how: Any) -> str:
    return said(after(listed(rows)), **how)


def acknowledged(monitor: Monitor, names: Sequence[str], note: str = "", at: float = NOW) -> Monitor:
    return monitor.with_acks({key_of(f"env-{name}"): Ack(at, clean(note)) for name in names})


def test_a_lost_environment_is_told_with_time_reason_command_and_acknowledgement() -> None:
    monitor = acknowledged(after(listed([lost("web-1")])), ["web-1"], "disk swap", NOW - 3 * MINUTE)
    assert said(monitor) == (
        "`web-1` offline since 08:45 UTC (8m): disconnected; "
        "start with `cd /home/hiro/code/portal && letta server --computer-name=web-1`, "
        "if no listener runs on its machine; "
        "acknowledged at 08:50 UTC: `disk swap`. Profile `prod`."
    )
    assert said(acknowledged(monitor, ["web-1"])).endswith("; acknowledged at 08:53 UTC. Profile `prod`.")
    (row,) = monitor.fleet.environments
    moved = replace(row, replaced_by=clean("env-new"), replaced_by_name=clean("@new"))
    text = incident_sentence([moved], monitor, reading(), UTC)
    assert ": `replaced by (at)new`; acknowledged" in text, "no command"
    zone = timezone(timedelta(hours=5, minutes=30))
    text = incident_sentence([row], monitor, reading(), zone, is_past=True)
    assert text.startswith("As of 14:23 UTC+05:30: `web-1` offline since 14:15 UTC+05:30 (8m)")


def test_an_acknowledgement_of_another_host_has_its_name() -> None:
    marks = {"ack": {"by": "ops-box", "at": NOW - 3 * MINUTE, "note": "disk swap"}}
    sentence = said_of(lost("web-1", envwatch=marks))
    assert sentence.endswith("; acknowledged at 08:50 UTC by `ops-box`: `disk swap`. Profile `prod`.")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (named("a"), "`a` online since 07:53 UTC (1h)."),
        (named("a", connectedAt=None), "`a` online."),
        (named("a", lastHeartbeat=NOW - 60_000), "`a` late since 08:53 UTC (under 1m): a ping was missed."),
        (
            named(
                "a",
                deviceId="desktop:1",
                listenerInstanceId="desktop-primary:1",
                connectionId=None,
                lastSeenAt=NOW - 2 * MINUTE,
                lastHeartbeat=None,
            ),
            (
                "`a` offline since 08:51 UTC (2m): disconnected; "
                "open the Letta Code desktop app on that machine, and turn remote access on."
            ),
        ),
        (
            lost("a", 60 * 30, metadata={"lettaCodeVersion": "0.30.28", "workingDirectory": "/srv"}),
            (
                "`a` offline since 2025-10-08 02:53 UTC (1d 6h): disconnected; "
                "start with `cd /srv && letta server --env-name=a`, if no listener runs on its machine."
            ),
        ),
    ],
)
def test_every_state_has_its_sentence(row: Environment, text: str) -> None:
    assert said_of(row) == f"{text} Profile `prod`."


def test_an_expected_row_without_a_listing_is_off() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(expect=(clean("web-9"),))})
    for at in (NOW, NOW + 5_000):
        monitor, _ = monitor.apply(NO_PROFILE, listed([], at), reading(at))
    assert said(monitor, NOW + 60_000).startswith("`web-9` offline since 08:53 UTC (1m): never seen; start ")


@pytest.mark.parametrize(
    ("minutes", "since"), [(24 * 60 - 1, "08:54 UTC (23h 59m)"), (24 * 60, "2025-10-08 08:53 UTC (1d)")]
)
def test_a_time_has_a_date_from_a_day_on(minutes: float, since: str) -> None:
    assert f" since {since}" in said_of(lost("web-1", minutes))


def test_while_blind_the_state_is_unknown_since_the_newest_listing() -> None:
    blind = after(listed([lost("web-1"), lost("web-2")]), failed(at=NOW + 5 * MINUTE))
    assert said(blind, NOW + 5 * MINUTE) == (
        "`web-1` and `web-2` unknown since 08:53 UTC (5m): `timeout: timeout`, was off. Profile `prod`."
    )


def test_an_impossible_time_is_no_since() -> None:
    assert said_of(named("a", lastHeartbeat=NOW * 1000)).startswith("`a` unknown: ")
    monitor = after(listed([lost("a")]))
    (row,) = monitor.fleet.environments
    for since_at in (0.0, 1e12):
        text = incident_sentence([replace(row, since_at=ServerMs(since_at))], monitor, reading(), UTC)
        assert text.startswith("`a` offline: disconnected;"), since_at


START = "start with `letta server` under its name in its directory, if no listener runs on its machine"


def test_equal_facts_share_a_sentence_with_the_first_names() -> None:
    rows = [lost(f"web-{number}") for number in range(1, 13)]
    assert said_of(*rows, shared=clean("pod p-7")) == (
        "`web-1`, `web-2`, `web-3`, `web-4` and 8 more "
        f"offline since 08:45 UTC (8m): disconnected; {START}. All of `pod p-7`, profile `prod`."
    )


def test_different_times_reasons_acknowledgements_and_commands_have_a_sentence_each() -> None:
    heartbeat_lost = named("c", lastHeartbeat=NOW - 8 * MINUTE, lastSeenAt=NOW - 8 * MINUTE)
    hashed = lost("h", deviceId=HASHED)
    by_organization = START.replace("server", "server --org=org-1").replace(", if", f" ({LOGIN}), if")
    monitor = after(listed([lost("a"), lost("b", 7), heartbeat_lost, lost("d"), hashed]))
    assert said(acknowledged(monitor, "d", "disk")).split(". ") == [
        f"`a` offline since 08:45 UTC (8m): disconnected; {START}",
        f"`b` offline since 08:46 UTC (7m): disconnected; {START}",
        f"`c` offline since 08:45 UTC (8m): heartbeat lost; {START}",
        f"`d` offline since 08:45 UTC (8m): disconnected; {START}; acknowledged at 08:53 UTC: `disk`",
        f"`h` offline since 08:45 UTC (8m): disconnected; {by_organization}",
        "Profile `prod`.",
    ]


def test_many_different_facts_are_cut() -> None:
    text = said_of(*(lost(f"a-{minutes}", minutes) for minutes in range(5, 15)))
    assert text.count(START) == 4
    assert text.endswith(". And 6 more. Profile `prod`.")


def test_the_profile_is_named_if_all_rows_have_the_same() -> None:
    profiles = [clean("prod"), clean("test")]
    monitor = Monitor.create(dict.fromkeys(profiles, Limits()))
    for profile in profiles:
        monitor, _ = monitor.apply(profile, listed([lost("a"), lost("b")]), reading())
    by_profile = [[each for each in monitor.fleet.environments if each.profile == profile] for profile in profiles]
    for profile, own in zip(profiles, by_profile, strict=True):
        assert incident_sentence(own, monitor, reading(), UTC).endswith(f" Profile `{profile}`.")
    every = [each for own in by_profile for each in own]
    assert incident_sentence(every, monitor, reading(), UTC).endswith("listener runs on its machine.")


HASHED = "5b491561437b4f0e9c7d0a1b2c3d4e5f"


def command(*rows: Environment) -> str:
    return (
        said_of(*rows)
        .partition("; start with ")[2]
        .removesuffix(", if no listener runs on its machine. Profile `prod`.")
    )


IN = "cd /home/hiro/code/portal && "
LOGIN = (
    "run the command with --org once by hand to log in: it ignores the login of `letta` and LETTA_API_KEY, and works "
    "only with Letta's default address"
)


def test_a_command_changed_by_a_chat_is_told_without_name_and_directory() -> None:
    for name in ("@channel", "a|b", "x" * 200):
        assert command(lost(name)) == "`letta server` under its name in its directory", name
    assert command(lost("my box")) == f"`{IN}letta server --computer-name='my box'`"


def test_the_start_commands_of_server_rows_are_told_as_the_pane_has_them() -> None:
    by_organization = f"`{IN}letta server --org=org-1 --computer-name=web-1`"
    assert command(lost("web-1", deviceId=HASHED)) == f"{by_organization} ({LOGIN})"
    assert command(lost("web-1", deviceId="spawned-7")) == (
        f"`{IN}letta server --computer-name=web-1` or {by_organization} (the device id "
        f"does not tell whether the listener was started with --org. R{LOGIN[1:]})"
    )
    assert command(lost("@channel", deviceId=HASHED)) == (
        f"`letta server --org=org-1` under its name in its directory ({LOGIN})"
    )
    assert command(lost("web-1", deviceId=HASHED, organizationId="@channel")) == (
        f"`letta server --org` and the organization's id ({LOGIN})"
    )


def test_the_start_of_a_listen_row_is_told_with_the_command_in_letta() -> None:
    told = command(lost("web-1", listenerInstanceId="listen-1"))
    assert told.startswith(f"`{IN}letta` (then type /server, which registered it.")
    both = command(*(lost(f"web-{number}", listenerInstanceId="listen-1") for number in (1, 2)))
    assert both.startswith("`letta` in its directory (then type /server")


TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=90), st.text("@`<>|:/a \\*_", max_size=90))


@given(st.lists(TEXTS, min_size=1, max_size=7), TEXTS, TEXTS, st.sampled_from([0.0, 5 * MINUTE]), st.booleans())
def test_for_any_names_and_notes_the_sentence_is_one_harmless_line(
    names: list[str],
    note: str,
    mark: str,
    later: float,
    is_gone: bool,  # noqa: FBT001  drawn
) -> None:
    marks = {"ack": {"by": mark, "note": note}}
    kind = lost if is_gone else named
    rows = [
        kind("x", id=f"env-{number}", connectionName=name, envwatch=marks if number % 2 else {})
        for number, name in enumerate(names)
    ]
    own_note = clean(note.replace("://", ""))  # a user's note keeps links
    monitor = after(listed(rows), profile=mark).with_acks({key_of("env-0"): Ack(NOW, own_note)})
    if later:
        outcome = failed(at=NOW + later)
        monitor, _ = monitor.apply(NO_PROFILE, replace(outcome, message=clean(note)), outcome.ended)
    text = said(monitor, NOW + later, shared=clean(f"pod {mark}"))
    assert clean(text, 10_000) == text
    assert "\n" not in text
    assert_is_harmless(text)


SENT_NONE = "; no message will be sent from here"
NAMES = ("ada", "bob", "cyd")


def rows(at: float, *down: str) -> list[Environment]:
    lost = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW}
    return [environment(name, **(lost if name in down else {"lastHeartbeat": at - 1_000})) for name in NAMES]


def lose(*down: str, held: float = 0.0, interval: float = 2.0) -> Monitor:
    """Lose environments whose incident opens after ten seconds; poll twice in the time of the loss."""
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
    for seconds, lost in ((-2.0, ()), (0.0, down), (held, down)):
        at = NOW + seconds * 1000
        outcome = listed(rows(at, *lost), at, interval=timedelta(seconds=interval))
        monitor, _ = monitor.apply(NO_PROFILE, outcome, reading(at))
    return monitor


def answer(monitor: Monitor, *names: str, held: float = 0.0) -> str:
    acks = {(EMPTY, clean(name)): Ack(NOW, EMPTY, NOW) for name in names}
    keys: list[Key] = [(NO_PROFILE, clean(name)) for name in names]
    text = acknowledged_text("it", keys, monitor.with_acks(acks), reading(NOW + held * 1000))
    beginning, end, about_message = text.partition("recover: it" if len(names) > 1 else "recovers: it")
    assert end
    assert beginning == f"acknowledged on this machine until {'they' if len(names) > 1 else 'it'} "
    return about_message


def test_a_loss_acknowledged_before_its_incident_is_never_sent() -> None:
    monitor = lose("ada", held=2)
    assert answer(monitor, "ada", held=2) == SENT_NONE
    after, changes = monitor.with_acks({(EMPTY, clean("ada")): Ack(NOW, EMPTY, NOW)}).tick(reading(NOW + 12_000))
    assert changes.opened == ()
    assert after.incidents.waiting == ()
    again, changes = monitor.tick(reading(NOW + 12_000))
    assert changes.opened == again.incidents.open != ()


def test_an_open_incident_or_a_loss_of_an_earlier_run_may_have_been_sent() -> None:
    monitor = lose("ada", held=10)
    assert len(monitor.incidents.open) == 1
    assert answer(monitor, "ada", held=10) == ""
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed(rows(NOW, "ada")), reading(NOW))
    assert answer(monitor, "ada") == ""
    assert answer(lose("ada"), "ada", "bob") == ""


@pytest.mark.parametrize(("held", "text"), [(5.999, SENT_NONE), (6, "")])
def test_other_processes_on_this_machine_need_a_poll_to_read_an_acknowledgement(held: float, text: str) -> None:
    assert answer(lose("ada", interval=2), "ada", held=held) == text


def test_a_whole_incident_is_never_sent_and_the_others_of_a_part_may_be() -> None:
    monitor = lose(*NAMES)
    assert answer(monitor, *NAMES) == SENT_NONE
    assert answer(monitor, "ada", "bob") == "; a message about 1 other may be sent"
    assert answer(monitor, "ada") == "; a message about 2 others may be sent"
    monitor = lose("ada", "bob").with_acks({(EMPTY, clean("bob")): Ack(NOW, EMPTY, NOW)})
    assert answer(monitor, "ada") == SENT_NONE
