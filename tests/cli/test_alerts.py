"""`envwatch alerts` and `envwatch silence`: which losses need a person, by rules and by a person's word."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import beating, listed
from support.faulty_server import Faulty, up
from support.recording import record

from envwatch.alerts.uptime_record import UptimeRecord, uptime_content
from envwatch.config.settings import read_settings
from envwatch.fleet.uptime import Uptime
from envwatch.history.stored import Retention, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.text import clean
from envwatch.watch.state_file import SILENCES, UPTIME, merge, words_in
from envwatch.watch.state_files import uptime_file_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.in_process import Envwatch

    from envwatch.model.outcome import Listed

HOUR = 3_600_000.0
WEEK = Uptime().after(168 * HOUR, is_up=True)
NEW = Uptime(at=120.5 * HOUR).after(168 * HOUR, is_up=True)
OFTEN_DOWN = Uptime(at=24 * HOUR).after(140 * HOUR, is_up=False).after(155 * HOUR, is_up=True)
OFTEN_DOWN = OFTEN_DOWN.after(168 * HOUR, is_up=True)
MAC: dict[str, Any] = {"metadata": {"os": "darwin"}}


def fleet(now: float) -> list[dict[str, Any]]:
    return [
        up("web-1", now),
        up("mac", now, **MAC),
        up("job", now),
        up("box-1", now, connectionName="box"),
        up("box-2", now, connectionName="box"),
        up("run", now, deviceId="sandbox-agent-1"),
    ]


@pytest.fixture
def record_of_week(scripted: Faulty) -> None:
    rows = {"web-1": WEEK, "mac": OFTEN_DOWN, "job": NEW, "box-1": WEEK, "box-2": WEEK, "run": WEEK}
    (settings,) = read_settings({}, {})
    content = uptime_content(UptimeRecord(168 * HOUR, {clean(id_): uptime for id_, uptime in rows.items()}))
    merge(uptime_file_for(scripted.url.partition("://")[2], settings), UPTIME, content)


@pytest.mark.usefixtures("record_of_week")
def test_each_row_is_listed_with_decision_share_and_rule(envwatch: Envwatch) -> None:
    code, out, err = envwatch("alerts")
    assert code == 0
    assert envwatch("alerts", "list") == (code, out, err)
    assert envwatch("alerts", "lst").line == "there is no action lst; did you mean list? See `envwatch alerts --help`"
    assert [re.split("  +", line) for line in out.splitlines()] == [
        ["NAME", "UP7D", "WHY"],
        ["box ox-1", "100 %", "pages: up 100 % of 7 days"],
        ["box ox-2", "100 %", "pages: up 100 % of 7 days"],
        ["job", "-", "does not page: watched for 47 of 48 h"],
        ["mac", "88 %", "does not page: up 88 % of 5 days"],
        ["run", "100 %", "does not page: a managed sandbox"],
        ["web-1", "100 %", "pages: up 100 % of 7 days"],
    ]
    assert err == "3 machines page; not: 1 not up enough, 1 in a sandbox, 1 watched for under two days\n"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("up7d:<90", ["mac"]),
        ("permanent:yes", ["box-1", "box-2", "run", "web-1"]),
        ("permanent:no", ["job", "mac"]),
    ],
)
@pytest.mark.usefixtures("record_of_week")
def test_a_filter_knows_the_uptime_record(envwatch: Envwatch, query: str, ids: list[str]) -> None:
    assert [row["id"] for row in json.loads(envwatch("alerts", "--filter", query, "-o", "json").out)] == ids


@pytest.mark.parametrize(
    ("what", "code", "refused"),
    [
        ("box", 2, "2 machines are called box: name one by its id: box-1, box-2"),
        ("boxx", 2, "no machine is called boxx; the nearest: box"),
        ("we", 2, "no machine is called we; name:*we* finds 1"),
        ("name:xyz", 2, "name:xyz matches none of 6 machines; `envwatch list` prints all"),
        ("os:windows", 2, "no machine has os:windows; did you mean os:win32?"),
        ("web-?", 2, "NAME|QUERY: only a field takes ? for one character: name:web-?; or quote it (at character 1"),
        ("web-[12]", 2, "NAME|QUERY: there are no [ ]: separate values by a comma, name:a,b; or quote it"),
        ("beat:soon", 2, "NAME|QUERY: write a duration like 1h30m or a date like 2026-11-24T03:00 (at character 6"),
        ("*", 2, "* may match other machines tomorrow: override them with --yes, or name one machine"),
        ("name:web-1", 2, "name:web-1 may match other machines tomorrow: override them with --yes, or name one"),
        ("mac !job", 2, "no machine is called mac !job; `envwatch list` prints all"),
    ],
)
@pytest.mark.usefixtures("scripted")
def test_a_name_of_no_machine_or_of_several_and_a_query_without_a_yes_are_refused(
    envwatch: Envwatch, what: str, code: int, refused: str
) -> None:
    ended = envwatch("alerts", "set", what, "never")
    assert ended.code == code
    assert ended.err.splitlines()[-1].startswith(f"envwatch: {refused}")
    assert words_in(envwatch.home / "envwatch" / "alerts-by-hand.json") == {}


def outages(now: float) -> Iterator[Listed]:
    """Yield 20 minutes: env-2 is down for six minutes, env-3 for one minute, env-1 always up."""
    for at in range(int(now) - 1_200_000, int(now) + 1, 5_000):
        rows = beating(4, at)
        ago = now - at
        for place, is_down in ((1, 300_000 <= ago < 660_000), (2, 300_000 <= ago < 360_000), (3, ago < 600_000)):
            if is_down:
                rows[place] = beating(4, at, connectionId=None, podId=None)[place]
        yield listed(rows, at)


def test_since_lists_the_recorded_outages_with_an_incident_by_the_present_rules(
    envwatch: Envwatch,
) -> None:
    envwatch.connect("https://work.example")
    writer = FolderWriter(history_folder(envwatch.home / "envwatch", "default", "work.example"), Retention())
    record(writer, outages(time.time() * 1000))
    writer.close()
    (settings,) = read_settings({}, {})
    rows = {"env-2": WEEK, "env-3": WEEK, "env-4": OFTEN_DOWN}
    content = uptime_content(UptimeRecord(168 * HOUR, {clean(id_): uptime for id_, uptime in rows.items()}))
    merge(uptime_file_for("work.example", settings), UPTIME, content)
    code, out, err = envwatch("alerts", "--since", "15m")
    assert len(out.splitlines()) == 2, out
    titles, line = out.splitlines()
    assert (code, titles.split()) == (0, ["BEGAN", "LASTED", "NAME", "WHY"])
    assert line.split(None, 2)[2].split() == ["6m", "laptop", "of", "env-2", "disconnected"]
    assert err == "1 outage would have been told, 1 too short, 1 of machines that do not page\n"
    (found,) = json.loads(envwatch("alerts", "--since", "15m", "-o", "json")[1])
    assert (found["id"], found["profile"], found["lasted_s"]) == ("env-2", None, 360.0)
    assert json.loads(envwatch("alerts", "--since", "15m", "-o", "json", "--filter", "id:env-3")[1]) == []


# Silences.


def held(envwatch: Envwatch) -> list[str]:
    return [silence["query"] for silence in json.loads(envwatch("silence", "list", "-o", "json").out)]


@pytest.mark.parametrize("query", ["*", "name:*", "name:web,* *"])
def test_a_wildcard_needs_a_yes_without_a_listing_too(envwatch: Envwatch, query: str) -> None:
    assert envwatch("silence", query, "--for", "1h").code == 2
    assert held(envwatch) == []


def test_a_silence_ends_within_31_days_by_length_or_by_time(envwatch: Envwatch) -> None:
    too_long = envwatch("silence", "x", "--for", "99d")
    assert (too_long.code, "must be 1m to 31d" in too_long.err) == (2, True)
    now = datetime.now(UTC).replace(microsecond=0)
    far = (now + timedelta(days=40)).isoformat()
    too_far = envwatch("silence", "x", "--until", far)
    assert (too_far.code, "--until: must be 1m to 31d from now" in too_far.err) == (2, True)
    end = now + timedelta(hours=3)
    assert envwatch("silence", "x", "--until", end.isoformat()).code == 0
    ((until,),) = [[silence["until"] for silence in json.loads(envwatch("silence", "list", "-o", "json").out)]]
    assert abs(datetime.fromisoformat(until) - end) < timedelta(seconds=30)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--filter", "name:x", "--untill", "10:00"], "`envwatch silence --filter name:x --until 10:00`"),
        (["x", "--for", "2h", "--untl=10:00"], "`envwatch silence x --until=10:00`"),
        (
            ["--filter", "a b", "--fro", "2h", "--note", "it's"],
            """`envwatch silence --filter 'a b' --for 2h --note 'it'"'"'s'`""",
        ),
        (["--fliter", "name:x", "--fro", "2h"], "--filter"),
        (["--fliter", "name:x", "--for", "never"], "--filter"),
        (["--untl", "10:00", "--note", "x" * 20], "--until"),
    ],
)
def test_an_unknown_option_is_answered_with_the_whole_command_that_was_meant(
    envwatch: Envwatch, arguments: list[str], meant: str
) -> None:
    wrong = envwatch("silence", *arguments)
    flag = next(each for each in arguments if each.startswith(("--unt", "--fro", "--fli")))
    line = f"`envwatch silence` takes no {flag}; did you mean {meant}? See `envwatch silence --help`"
    assert (wrong.code, wrong.line) == (2, line)


def test_recurring_silences_of_several_profiles_have_ids_that_end_them(envwatch: Envwatch) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    hours = f"{now - hour:%H:%M}-{now + hour:%H:%M}"
    quiet = 'timezone = "UTC"\n' + "".join(
        f'[profiles.{name}]\n[[profiles.{name}.silences]]\nfilter = "name:{name}"\nhours = "{hours}"\n'
        for name in ("home", "work")
    )
    envwatch.write_config(quiet)
    lines = envwatch("silence", "list", "--profile", "home,work").out.splitlines()
    ids = ["home/silence-1", "work/silence-1"]
    assert [line.split()[:2] for line in lines] == [["ID", "PROFILE"], [ids[0], "home"], [ids[1], "work"]]
    refused = envwatch("silence", "end", "silence-1", "--profile", "home,work")
    why = "several profiles have a silence silence-1: end home/silence-1 or work/silence-1"
    assert (refused.code, refused.line) == (2, why)
    ended = envwatch("silence", "end", "work/silence-1", "--profile", "home,work")
    assert ended == (0, "", f"ended: name:work {hours}\n")
    found = json.loads(envwatch("silence", "list", "--profile", "home,work", "-o", "json").out)
    assert {each["id"]: each["until"] is None for each in found} == dict(zip(ids, (False, True), strict=True))


@pytest.mark.parametrize(("command", "code"), [("silence list", 0), ("silence end silence-1", 1)])
def test_a_mistake_of_the_file_is_named_where_its_silences_are_left_out(
    envwatch: Envwatch, command: str, code: int
) -> None:
    envwatch.write_config('[[silences]]\nfilter = "name:web-1"\nhours = "25:00"\n')
    found = envwatch(*command.split())
    assert (found.code, "envwatch: without the silences that recur: " in found.err) == (code, True)


def test_a_silence_ends_by_a_unique_beginning_of_its_id(envwatch: Envwatch) -> None:
    now = time.time() * 1000
    silence = {"at": now, "until": now + 3_600_000, "note": "", "by": ""}
    folder = envwatch.home / "envwatch"
    folder.mkdir(exist_ok=True)
    content = {id_: {**silence, "matcher": f"name:{id_}"} for id_ in ("3f2a9c1e", "3f77b0d4")}
    (folder / "silences.json").write_text(SILENCES.text(content), encoding="utf-8")
    refused = envwatch("silence", "end", "3f")
    assert (refused.code, refused.line) == (2, "2 silences begin with 3f: 3f2a9c1e, 3f77b0d4")
    assert envwatch("silence", "end", "3f2") == (0, "", "ended: name:3f2a9c1e\n")
    assert held(envwatch) == ["name:3f77b0d4"]
    assert envwatch("silence", "end", "beef").code == 1
