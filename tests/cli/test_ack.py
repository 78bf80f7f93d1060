"""`envwatch ack`: who gets an acknowledgement, what the command says, and what is kept where."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.faulty_server import KEY, Faulty, Reply, down, says, up
from support.incidents import incident_of
from support.programs import wait_until
from support.serve_program import TOKEN, serve_program, tokens_file, upstream

from envwatch.alerts.alert_state import AlertState, alert_state_content
from envwatch.cli.arguments import StopError, options_in
from envwatch.config.credentials import read_credentials
from envwatch.config.settings import read_settings
from envwatch.fleet.events import Event, Kind
from envwatch.fleet.last_run import LastRun
from envwatch.letta.poller import read_clocks
from envwatch.model.acks import Ack, AckRequest
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import clean
from envwatch.watch.profiles import alert_file_for
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, ALERT_STATE, acknowledged, merge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.in_process import Ended, Envwatch

    from envwatch.alerts.acknowledgements import ServerKey

STARTED = time.time() * 1000
HOSTILE = "\x1b]0;owned\x07\u202ee\nvil"
UUID = clean("0f0e0d0c-0b0a-4908-8706-05040302010a")
OLD = Ack(STARTED - 180_000, clean("by hand"), STARTED, by=clean("ann"), uuid=UUID)


def fleet(now: float) -> list[dict[str, Any]]:
    return [
        up("web-1", now),
        down("web-2", STARTED - 60_000),
        down("web-3", STARTED - 90_000),
        down("evil", STARTED - 90_000, connectionName=HOSTILE),
        down("box-1", STARTED - 90_000, connectionName="box"),
        down("box-2", STARTED - 90_000, connectionName="box"),
    ]


def marked(id_: str, **mark: Any) -> Callable[[float], list[dict[str, Any]]]:
    """Return a script with one row's field `envwatch`."""
    return lambda now: [{**row, "envwatch": mark} if row["id"] == id_ else row for row in fleet(now)]


def be_envwatch(server: Faulty, answer: Callable[[Reply], Reply] | None = None) -> None:
    """Answer as `envwatch serve`; the answer to acknowledgements is a 404 by default."""
    server.break_every_page(lambda reply: replace(reply, headers={**reply.headers, "Envwatch-Listing-Age": "0.100"}))
    server.break_health(says(200, '{"version": "envwatch-2.0.0", "status": "ok"}'))
    server.answer_acks(*filter(None, [answer]))


def kept(home: Path) -> dict[str, Ack]:
    return {id_: ack for (_, id_), ack in acknowledged(home / "envwatch" / "acknowledged.json").items()}


def sent(server: Faulty) -> list[tuple[str, str, bytes]]:
    return [(seen.method, seen.path.rpartition("/")[2], seen.body) for seen in server.seen if seen.method != "GET"]


def asked(server: Faulty) -> list[str]:
    """The ids in the only request for an acknowledgement."""
    ((_, _, body),) = sent(server)
    return [str(loss.id) for loss in AckRequest.from_json(json.loads(body)).losses]


def test_an_acknowledgement_of_another_server_is_kept_in_this_machines_file(
    envwatch: Envwatch, scripted: Faulty
) -> None:
    code, out, err = envwatch("ack", "name:web-*", "--note", "new disk", "--for", "4h", "--yes")

    acks = kept(envwatch.home)
    assert (code, {*acks}, {f"{ack.uuid[:8]}\n" for ack in acks.values()}) == (0, {"web-2", "web-3"}, {out})
    ack = acks["web-2"]
    assert (ack.sign_at, ack.address) == (STARTED - 60_000, "")
    assert ack.note.isprintable()
    assert ack.note == clean("new disk")
    assert ack.until == ack.at + 4 * 3_600_000
    assert abs(ack.at - time.time() * 1000) < 60_000
    assert err.splitlines()[0] == "name:web-* matches 2 that are down: web-2, web-3"
    assert err.splitlines()[1].startswith("acknowledged on this machine until ")
    envwatch("ack", "evil")
    assert kept(envwatch.home)["evil"].until is None, "it lasts until the row is back"
    assert sent(scripted) == []


def test_an_acknowledgement_ends_at_the_moment_of_until_within_31_days(envwatch: Envwatch, scripted: Faulty) -> None:
    be_envwatch(scripted, says(200, json.dumps({"rows": [{"id": "web-2", "result": "acked"}]})))
    now = datetime.now(UTC).replace(microsecond=0)
    soon, late = ((now + timedelta(hours=hours)).isoformat() for hours in (24 * 30, 24 * 32))
    assert envwatch("ack", "web-2", "--until", soon)[0] == 0
    ((_, _, body),) = sent(scripted)
    for_s = AckRequest.from_json(json.loads(body)).for_s
    assert for_s is not None
    assert abs(for_s - 30 * 86_400) < 60
    code, _, err = envwatch("ack", "web-2", "--until", late)
    assert (code, err) == (2, "envwatch: --until: must be 1m to 31d from now; see `envwatch ack --help`\n")
    assert len(sent(scripted)) == 1


def keep(home: Path, server: Faulty, id_: str, **changes: Any) -> None:
    key: ServerKey = (clean(server.url.partition("://")[2]), clean(id_))
    merge(home / "envwatch" / "acknowledged.json", ACKNOWLEDGEMENTS, {key: replace(OLD, **changes)})


def test_an_envwatch_server_gets_the_acknowledgement_and_this_machine_keeps_none(
    envwatch: Envwatch, scripted: Faulty
) -> None:
    results = {"web-2": "acked", "web-3": "already", "evil": "recovered", "box-1": "other_loss", "box-2": "unknown"}
    rows = [{"id": id_, "result": result, "by": HOSTILE, "at": STARTED - 200_000} for id_, result in results.items()]
    be_envwatch(scripted, says(200, json.dumps({"rows": rows})))
    code, out, err = envwatch("ack", "status:offline", "--note", "disk", "--for", "1h", "--yes")

    ((method, uuid, body),) = sent(scripted)
    request = AckRequest.from_json(json.loads(body))
    assert (method, code, out) == ("PUT", 1, f"{uuid[:8]}\n")
    assert [loss.sign_at for loss in request.losses if loss.id == "web-2"] == [STARTED - 60_000]
    assert len(request.losses) == 5
    assert (request.note, request.for_s) == ("disk", 3600.0)
    lines = err.splitlines()
    assert lines[-1].startswith(f"acknowledged for everybody at {scripted.url.partition('://')[2]} until ")
    assert {re.sub(r"\d+m ago", "a while ago", line) for line in lines[1:-1]} == {
        f"already acknowledged by {clean(HOSTILE.replace(chr(10), ' '))}, a while ago: web-3",
        f"nothing to acknowledge, back again: {clean(HOSTILE)}",
        "lost again since, look again: box",
        "not known to the server: box",
    }
    assert kept(envwatch.home) == {}


def test_an_acknowledgement_that_an_upper_server_does_not_know_names_the_viewers_and_the_upper_server(
    envwatch: Envwatch, scripted: Faulty
) -> None:
    rows = [{"id": id_, "result": "acked", "still_pages": above} for id_, above in (("web-2", "top:1"), ("web-3", ""))]
    be_envwatch(scripted, says(200, json.dumps({"rows": rows})))
    code, _, err = envwatch("ack", "name:web-*", "--yes")
    host = scripted.url.partition("://")[2]
    assert (code, err.splitlines()[1:]) == (
        0,
        [
            f"acknowledged for viewers at {host} until it is back: web-2; top:1 still pages",
            f"acknowledged for everybody at {host} until it is back: web-3",
        ],
    )


def test_an_acknowledgement_of_this_machine_is_none_for_the_team(envwatch: Envwatch, scripted: Faulty) -> None:
    keep(envwatch.home, scripted, "web-2")
    be_envwatch(scripted, says(200, json.dumps({"rows": [{"id": "web-2", "result": "acked"}]})))
    assert envwatch("ack", "web-2")[0] == 0
    assert [method for method, _, _ in sent(scripted)] == ["PUT"]


def test_a_silence_of_a_viewer_names_the_host_that_still_pages(envwatch: Envwatch, scripted: Faulty) -> None:
    scripted.script = marked("web-2", alerts={"pages": True, "why": "up 99 % of 7 days"})
    be_envwatch(scripted)
    err = envwatch("silence", "web-2", "--for", "1h").err
    assert err.endswith(f": web-2; {scripted.url.partition('://')[2]} still pages\n")


@pytest.mark.parametrize("command", ["check", "list", "ack list", "alerts", "silence list"])
def test_a_command_names_a_damaged_file_of_acknowledgements(envwatch: Envwatch, scripted: Faulty, command: str) -> None:
    keep(envwatch.home, scripted, "web-2")
    path = envwatch.home / "envwatch" / "acknowledged.json"
    path.write_bytes(path.read_bytes()[:40])
    assert f"envwatch: forgot which machines are acknowledged: damaged ({path})\n" in envwatch(*command.split()).err


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (says(403), 4, "the token of this machine may not acknowledge: ask for the right `ack` at"),
        (says(401), 4, "answered 401"),
        (says(500), 1, "answered 500"),
        (says(502, '{"error": "not passed on: only a user of top can change it"}'), 1, ": not passed on: only a user"),
        (says(429, Retry_After="7"), 1, "try again in 7 s"),
    ],
)
def test_a_refused_acknowledgement_is_kept_nowhere(
    envwatch: Envwatch,
    scripted: Faulty,
    answer: Callable[[Reply], Reply],
    code: int,
    message: str,
) -> None:
    be_envwatch(scripted, answer)
    found, out, err = envwatch("ack", "web-2")
    assert (found, out) == (code, "")
    assert err.startswith("envwatch: not acknowledged: ")
    assert message in err
    assert kept(envwatch.home) == {}


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("ack web-2", "acknowledged"),
        ("ack status:offline", "acknowledged"),
        ("ack end web-3", "ended"),
        (f"ack end {UUID}", "ended"),
    ],
)
def test_a_token_that_only_reads_is_refused_before_a_question_or_a_request(
    envwatch: Envwatch, scripted: Faulty, command: str, what: str
) -> None:
    scripted.script = marked("web-3", ack={"by": "ann", "at": STARTED - 60_000, "uuid": UUID})
    be_envwatch(scripted, says(200, "{}"))
    scripted.break_every_page(
        lambda reply: replace(
            reply, headers={**reply.headers, "Envwatch-Listing-Age": "0.100", "Envwatch-Rights": "read"}
        )
    )
    code, out, err = envwatch(*command.split())
    host = scripted.url.partition("://")[2]
    why = f"your token only reads: ask for the right `ack` at {host}"
    way_out = f"`envwatch silence` silences on this machine, {host} still pages"
    assert (code, out, err.splitlines()[-1]) == (4, "", f"envwatch: not {what}: {why}; {way_out}")
    assert (sent(scripted), kept(envwatch.home)) == ([], {})


def test_a_server_behind_a_proxy_for_get_only_is_told_of_and_nothing_is_acknowledged(
    envwatch: Envwatch, scripted: Faulty
) -> None:
    be_envwatch(scripted)
    code, _, err = envwatch("ack", "web-2")
    assert (code, kept(envwatch.home)) == (1, {})
    assert "takes no acknowledgements: does a proxy let only GET through?\n" in err


def test_a_missing_row_of_this_machines_expect_is_kept_here_although_the_server_is_the_teams(
    envwatch: Envwatch, scripted: Faulty
) -> None:
    envwatch.write_config('expect = ["nas-77"]\n')
    be_envwatch(scripted)
    code, out, err = envwatch("ack", "nas-77")
    assert (code, err) == (0, "acknowledged on this machine until it is back: nas-77\n")
    (own,) = kept(envwatch.home).values()
    assert out == f"{own.uuid[:8]}\n"
    assert sent(scripted) == []


def test_an_incident_of_the_serving_host_names_its_rows(envwatch: Envwatch, scripted: Faulty) -> None:
    scripted.script = marked("web-3", incident="inc-9d3f00aa17c4")
    be_envwatch(scripted, says(200, json.dumps({"rows": [{"id": "web-3", "result": "acked"}]})))
    assert envwatch("ack", "inc-9d3f00aa17c4")[0] == 0
    assert asked(scripted) == ["web-3"]


@pytest.mark.usefixtures("scripted")
def test_an_incident_of_this_machines_hook_process_names_the_rows_still_off(envwatch: Envwatch) -> None:
    lost = [
        Event(kind=Kind.OFFLINE, at=ServerMs(STARTED - 60_000), id=clean(id_), name=clean(id_))
        for id_ in ("web-1", "web-2", "web-3")
    ]
    incident = incident_of(*lost)._replace(id=clean("inc-9d3f00aa17c4"))
    remaining = frozenset(key for key in incident.remaining if key[1] != "web-3")
    state = AlertState(last_run=LastRun(WallMs(STARTED)), open=(incident._replace(remaining=remaining),))
    (settings,) = read_settings({}, {})
    credentials = read_credentials(settings, os.environ, now_ms=STARTED)
    merge(alert_file_for(credentials, settings), ALERT_STATE, alert_state_content(state, read_clocks()))

    code, _, err = envwatch("ack", "inc-9d3f00aa17c4")
    assert (code, [*kept(envwatch.home)]) == (0, ["web-2"])
    assert err == "acknowledged on this machine until it is back: web-2\n"


def test_an_incident_about_envwatch_is_acknowledged_without_a_listing(envwatch: Envwatch, scripted: Faulty) -> None:
    reason = clean("no connection")
    blind = Event(kind=Kind.BLIND, at=ServerMs(STARTED - 60_000), reason=reason)
    incident = incident_of(blind)._replace(id=clean("inc-9d3f00aa17c4"))
    state = AlertState(last_run=LastRun(WallMs(STARTED)), open=(incident,))
    (settings,) = read_settings({}, {})
    credentials = read_credentials(settings, os.environ, now_ms=STARTED)
    merge(alert_file_for(credentials, settings), ALERT_STATE, alert_state_content(state, read_clocks()))

    code, _, err = envwatch("ack", "inc-9d3f00aa17c4")
    assert (code, [*kept(envwatch.home)], scripted.seen) == (0, [""], [])
    assert err == "acknowledged on this machine until this ends: envwatch is blind: no connection\n"
    assert "platform or envwatch" in envwatch("ack", "list")[1]
    scripted.seen.clear()
    assert envwatch("ack", "end", "inc-9d3f00aa17c4")[::2] == (0, "ended: envwatch is blind: no connection\n")
    assert (kept(envwatch.home)[""].until is not None, scripted.seen) == (True, [])
    code, _, err = envwatch("ack", "end", "inc-9d3f00aa17c4")
    assert (code, "inc-9d3f00aa17c4: nothing is acknowledged" in err) == (1, True)
    uuid = envwatch("ack", "inc-9d3f00aa17c4", "--for", "2h")[1].strip()
    assert envwatch("ack", "end", uuid)[2].endswith("ended: platform or envwatch\n")


def test_a_list_has_this_machines_and_the_servers_acknowledgements(envwatch: Envwatch, scripted: Faulty) -> None:
    keep(envwatch.home, scripted, "web-2", until=STARTED + 3_600_000)
    keep(envwatch.home, scripted, "taken away", at=OLD.at + 2_000)
    keep(envwatch.home, scripted, "web-3", until=STARTED - 1_000)
    scripted.script = marked("evil", ack={"by": "bob", "at": OLD.at + 1_000, "note": HOSTILE, "uuid": UUID})
    be_envwatch(scripted)
    code, out, err = envwatch("ack", "list", "-o", "json")

    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [(each["id"], each["by"], each["served"], each["uuid"]) for each in found] == [
        ("web-2", "ann", False, UUID),
        ("evil", "bob", True, UUID),
        ("taken away", "ann", False, UUID),
    ]
    assert [each["until"] is None for each in found] == [False, True, True]
    _, table, _ = envwatch("ack", "list", "--filter", "name:web-2")
    assert [line.split()[0] for line in table.splitlines()] == ["NAME", "web-2"]
    lines = envwatch("ack", "list").out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert ["until back" in line for line in lines[1:]] == [False, True, True]


def test_a_name_with_one_id_in_several_profiles_is_chosen_by_the_profile(envwatch: Envwatch, scripted: Faulty) -> None:
    other = scripted.url.replace("127.0.0.1", "localhost")
    key = 'api_key_env = "LETTA_API_KEY"\n'
    envwatch.write_config(
        f'[profiles.home]\nbase_url = "{scripted.url}"\n{key}[profiles.work]\nbase_url = "{other}"\n{key}'
    )
    found = envwatch("ack", "web-2", "--profile", "home,work")
    assert (found.code, found.line) == (2, "several profiles have a machine web-2: choose one with --profile")


@pytest.mark.parametrize("what", ["web-2", "name:web-2", UUID, UUID.upper()])
def test_an_end_on_this_machine_is_an_entry_with_an_end(envwatch: Envwatch, scripted: Faulty, what: str) -> None:
    keep(envwatch.home, scripted, "web-2")
    assert envwatch("ack", "end", what) == (0, "", "ended: web-2\n")
    ended = kept(envwatch.home)["web-2"]
    assert ended == replace(OLD, until=ended.until)
    assert abs((ended.until or 0.0) - time.time() * 1000) < 60_000
    again = envwatch("ack", "end", what)
    assert (again.code, again.line.partition(": ")[2]) == (
        1,
        "nothing is acknowledged; `envwatch ack list` prints what is",
    )


@pytest.mark.parametrize("what", ["web-3", "status:offline", UUID])
def test_an_end_on_the_server_is_sent_by_uuid(envwatch: Envwatch, scripted: Faulty, what: str) -> None:
    scripted.script = marked("web-3", ack={"by": "bob", "at": OLD.at, "note": "", "uuid": UUID})
    be_envwatch(scripted, says(200, "{}"))
    code, _, err = envwatch("ack", "end", what)
    assert (code, err) == (0, f"ended for everybody at {scripted.url.partition('://')[2]}: web-3\n")
    assert sent(scripted) == [("DELETE", UUID, b"")]
    assert kept(envwatch.home) == {}


def test_an_end_of_this_machines_uuid_is_not_sent(envwatch: Envwatch, scripted: Faulty) -> None:
    keep(envwatch.home, scripted, "taken away")
    be_envwatch(scripted)
    assert envwatch("ack", "end", UUID) == (0, "", "ended: taken away\n")
    assert sent(scripted) == []


@pytest.mark.parametrize("what", ["0f0e0d0c", "0F0E", "0f0e0d0c-0b0a-4"])
def test_a_beginning_of_an_id_ends_an_acknowledgement(envwatch: Envwatch, scripted: Faulty, what: str) -> None:
    keep(envwatch.home, scripted, "web-2")
    assert "0f0e0d0c\n" in envwatch("ack", "list").out
    assert envwatch("ack", "end", what) == (0, "", "ended: web-2\n")


def test_a_beginning_of_several_ids_or_of_none_is_refused(envwatch: Envwatch, scripted: Faulty) -> None:
    other = clean(f"0f0e{UUID[4:].replace('0d', '11')}")
    keep(envwatch.home, scripted, "web-2")
    keep(envwatch.home, scripted, "web-3", uuid=other)
    ended = envwatch("ack", "end", "0f0e")
    assert (ended.code, ended.line) == (2, f"2 acknowledgements begin with 0f0e: {UUID}, {other}")
    ended = envwatch("ack", "end", "beef")
    why = "no acknowledgement's id begins with beef; `envwatch ack list` prints what is acknowledged"
    assert (ended.code, ended.line) == (1, why)


def test_a_machine_whose_name_begins_an_id_is_ended_as_a_machine(envwatch: Envwatch, scripted: Faulty) -> None:
    scripted.script = lambda now: [*fleet(now), down("cafe", STARTED - 60_000)]
    keep(envwatch.home, scripted, "web-2", uuid=clean(f"cafe{UUID[4:]}"))
    keep(envwatch.home, scripted, "cafe", uuid=UUID)
    assert envwatch("ack", "end", "cafe") == (0, "", "ended: cafe\n")


def test_a_beginning_names_an_incident(envwatch: Envwatch, scripted: Faulty) -> None:
    ids = {"web-2": "inc-9d3f00aa17c4", "web-3": "inc-9d3faaaa17c4"}
    scripted.script = lambda now: [
        {**row, "envwatch": {"incident": ids[row["id"]]}} if row["id"] in ids else row for row in fleet(now)
    ]
    be_envwatch(scripted, says(200, json.dumps({"rows": [{"id": "web-3", "result": "acked"}]})))
    ended = envwatch("ack", "inc-9d3f")
    assert (ended.code, ended.line) == (2, "2 incidents begin with inc-9d3f: inc-9d3f00aa17c4, inc-9d3faaaa17c4")
    assert envwatch("ack", "inc-9d3fa").code == 0
    assert asked(scripted) == ["web-3"]
    assert envwatch("ack", "--name", "inc-9d3f0").code == 2


def test_an_end_of_an_unknown_uuid_asks_the_server(envwatch: Envwatch, scripted: Faulty) -> None:
    be_envwatch(scripted)
    code, _, err = envwatch("ack", "end", UUID)
    assert code == 1
    assert "knows no such acknowledgement: it may have ended already" in err


def test_a_servers_acknowledgement_without_a_uuid_is_ended_there(envwatch: Envwatch, scripted: Faulty) -> None:
    scripted.script = marked("web-3", ack={"by": "bob", "at": OLD.at, "note": ""})
    be_envwatch(scripted)
    code, _, err = envwatch("ack", "end", "web-3")
    assert (code, sent(scripted)) == (1, [])
    assert "not ended: web-3 was acknowledged there: end it at " in err


def test_an_action_is_the_first_word_and_any_other_word_is_a_name() -> None:
    for action, words in (("list", ["list"]), ("end", ["end", "web-2"]), (None, ["web-2"])):
        options = options_in(["ack", *words, "--profile", "a", "--config", "c.toml"])
        assert (options.action, options.profile, options.config) == (action, "a", "c.toml")
    options = options_in(["ack", "--note", "list", "listed"])
    assert (options.machines, options.note, options.action) == ("listed", "list", None)
    with pytest.raises(StopError, match="`envwatch ack list` takes no --note"):
        options_in(["ack", "list", "--note", "x"])


def test_a_team_sees_one_acknowledgement_and_the_platform_gets_nothing(
    envwatch: Envwatch, scripted: Faulty, tmp_path: Path
) -> None:
    other = "token-of-bob-0123456789"
    tokens_file(tmp_path, f"ann {TOKEN} ack\nbob {other}\n")
    with serve_program(upstream(tmp_path, scripted.url, KEY), tmp_path) as program:
        wait_until(lambda: program.ask().status == 200, "the first listing")
        envwatch.connect(program.urls[0])

        def run_as(token: str, *arguments: str) -> Ended:
            return envwatch("ack", *arguments, LETTA_API_KEY=token)

        code, out, _ = run_as(TOKEN, "web-2", "--note", "disk swap")
        (found,) = json.loads(run_as(other, "list", "-o", "json")[1])
        assert (code, found["by"], found["note"], found["uuid"][:8]) == (0, "ann", "disk swap", out.strip())
        assert [run_as(other, *words)[0] for words in (("web-3",), ("web-2",), ("end", "web-2"))] == [4, 0, 4]
        assert run_as(TOKEN, "end", "web-2")[0] == 0
        assert json.loads(run_as(other, "list", "-o", "json")[1]) == []
    assert sent(scripted) == []


def test_a_late_row_is_not_lost_and_the_answer_names_the_silence(envwatch: Envwatch, scripted: Faulty) -> None:
    scripted.script = lambda now: [up("web-1", now, lastHeartbeat=now - 60_000)]
    code, _, err = envwatch("ack", "web-1")
    text = "nothing to acknowledge: web-1 late, not lost; `envwatch silence` silences a loss beforehand\n"
    assert (code, err, kept(envwatch.home)) == (1, text, {})
