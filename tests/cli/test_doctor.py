"""`envwatch doctor` on real sockets: finds each fault, and no finding has the key."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import signal
import socket
import ssl
import sys
import time
from contextlib import aclosing, closing
from dataclasses import replace
from datetime import timedelta
from inspect import isfunction
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest
from support import programs
from support.builders import wire_rows
from support.documents import promises
from support.faulty_server import KEY, How, Stop, Where, edits, faulty_server, proxy_to, says, skewed
from support.pty_terminal import Terminal, environment
from support.scripted_server import up

import envwatch
from envwatch.cli.doctor import check, machine
from envwatch.cli.doctor import server as way
from envwatch.cli.doctor.check import CheckStatus, findings_of
from envwatch.config.settings import Settings
from envwatch.demo.child import ChildServer
from envwatch.demo.scenarios import FleetSpec
from envwatch.fleet.uptime import Uptime
from envwatch.fleet.uptime_record import UptimeRecord, content_of
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.redactor import redactor
from envwatch.sources.daemon_thread import run_in_daemon_thread
from envwatch.storage.state_file import UPTIME, merge
from envwatch.watch.state_files import uptime_file_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from support.faulty_server import Faulty, Reply

    from envwatch.cli.doctor.check import Finding

CERTS = Path(__file__).parents[1] / "support" / "certs"
WAY = tuple(check.id for check in way.PROFILE)
HOUR = 3_600_000.0
PIECES = {KEY[at : at + 8] for at in range(len(KEY) - 7)}


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(3)) as faulty:
        yield faulty


def tls_of(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / name)
    return context


def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
        return port


async def examined(
    url: str, environ: Mapping[str, str] | None = None, limits: Limits | None = None, **settings: Any
) -> dict[str, Finding]:
    """Return the findings about the way to a server, asserted free of the key even before redaction."""
    variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": url} if environ is None else {"LETTA_BASE_URL": url, **environ}
    subject = way.ServerContext(Settings(limits=limits or Limits(), **settings), variables)
    async with aclosing(subject):
        found = {id_: finding async for id_, finding in findings_of(way.PROFILE, subject)}
    output = check.json_of(check.Result(id_, None, finding, str) for id_, finding in found.items())
    assert [piece for piece in PIECES if piece in output] == []
    assert tuple(found) == WAY
    assert [id_ for id_, one in found.items() if one.status in {"warning", "failure"} and not one.fix] == []
    return found


def amiss(findings: Mapping[str, Finding]) -> dict[str, str]:
    return {
        id_: one.status.value
        for id_, one in findings.items()
        if one.status not in {CheckStatus.OK, CheckStatus.SKIPPED}
    }


def not_checked(findings: Mapping[str, Finding], because: str) -> list[str]:
    return [id_ for id_, one in findings.items() if one.summary == f"not checked, because of {because}"]


def after(id_: str) -> list[str]:
    """Return the later checks of the way to a server."""
    return [*WAY[WAY.index(id_) + 1 :]]


def test_every_check_is_run() -> None:
    listed = {check.examine for check in (*machine.CONFIG, *way.PROFILE, *machine.MACHINE)}
    arguments = ({"MachineContext"}, {"ServerContext"})
    written = {
        each
        for each in (*vars(machine).values(), *vars(way).values())
        if isfunction(each) and {*each.__annotations__.values()} - {"Finding"} in arguments
    }
    assert listed == written


def test_every_file_of_state_is_checked() -> None:
    package = Path(envwatch.__file__).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert {*re.findall(r'state_file\("([\w-]+)"\)', sources)} == machine.STATE_FILES.keys()


async def test_on_a_sound_server_all_is_fine(server: Faulty) -> None:
    findings = await examined(server.url)
    assert {one.status for one in findings.values()} == {CheckStatus.OK}
    assert findings["listing"].data["rows"] == 3
    assert findings["health"].data["status"] == 200
    assert findings["key"].data["origin"] == "LETTA_API_KEY"
    assert [seen.path for seen in server.seen] == ["/v1/health", "/v1/environments", "/v1/environments"]
    assert findings["listing"].data["listing_age_s"] is None


async def test_a_server_that_hands_listings_on_is_named_with_its_version_and_the_age_of_the_listing(
    server: Faulty,
) -> None:
    server.break_health(says(200, '{"version": "envwatch-1.2.0", "status": "ok"}'))  # type: ignore[arg-type]
    server.break_every_page(lambda reply: replace(reply, headers={**reply.headers, "Envwatch-Listing-Age": "50.125"}))
    findings = await examined(server.url)
    assert {one.status for one in findings.values()} == {CheckStatus.OK}
    assert findings["health"].summary.endswith(" ms: version envwatch-1.2.0")
    assert findings["health"].data["version"] == "envwatch-1.2.0"
    assert findings["listing"].summary.endswith(" ms, of a listing that is 50s old")
    assert findings["listing"].data["listing_age_s"] == 50.125


@pytest.mark.parametrize("version", [None, 7, "", ["x"], {"x": 1}])
async def test_a_version_that_is_no_text_is_left_out(server: Faulty, version: object) -> None:
    server.break_health(says(200, json.dumps({"version": version})))  # type: ignore[arg-type]
    findings = await examined(server.url)
    assert findings["health"].summary.endswith(" ms")
    assert findings["health"].data["version"] is None


async def test_what_stands_in_place_of_a_version_is_one_clean_line(server: Faulty) -> None:
    server.break_health(says(200, json.dumps({"version": f"\x1b[2J{KEY}\n" + "x" * 500})))  # type: ignore[arg-type]
    summary = (await examined(server.url))["health"].summary
    assert summary.isprintable()
    assert len(summary) < 200


@pytest.mark.parametrize("is_proxied", [False, True])
async def test_tls_is_reported_with_its_version_and_the_end_of_the_certificate(*, is_proxied: bool) -> None:
    environ = {"LETTA_API_KEY": KEY, "SSL_CERT_FILE": str(CERTS / "localhost.pem")}
    async with faulty_server(wire_rows(3), tls_of("localhost.pem")) as server, proxy_to(server) as proxy:
        url = "https://letta.test" if is_proxied else server.url
        findings = await examined(url, environ | ({"HTTPS_PROXY": proxy} if is_proxied else {}))
    assert {one.status for one in findings.values()} == {CheckStatus.OK}
    assert findings["tls"].data == {"version": "TLSv1.3", "valid_until": findings["tls"].data["valid_until"]}
    assert str(findings["tls"].data["valid_until"]).startswith("2126-")
    assert findings["certificates"].data["variable"] == "SSL_CERT_FILE"
    assert findings["proxy"].data["variable"] == ("HTTPS_PROXY" if is_proxied else None)


async def test_a_name_without_an_address_is_a_failure_of_dns() -> None:
    findings = await examined(f"https://{'a' * 64}.example")  # an impossible label, so no resolver is asked
    assert amiss(findings) == {"dns": "failure"}
    assert not_checked(findings, "dns") == after("dns")


async def test_a_port_on_which_nothing_listens_is_a_failure_of_tcp() -> None:
    port = closed_port()
    findings = await examined(f"http://127.0.0.1:{port}")
    assert amiss(findings) == {"tcp": "failure"}
    assert findings["tcp"].summary.startswith(f"nothing listens at 127.0.0.1:{port}")
    assert not_checked(findings, "tcp") == after("tcp")


async def test_plain_http_to_a_port_with_tls_asks_whether_it_is_https() -> None:
    async with faulty_server([], tls_of("localhost.pem")) as server:
        findings = await examined(server.url.replace("https://localhost", "http://127.0.0.1"))
    assert findings["listing"].status is CheckStatus.FAILURE
    assert findings["listing"].summary.endswith(
        "closed the connection before its answer was complete: is it https there?"
    )


@pytest.mark.parametrize(
    ("rows", "limits", "summary", "fix"),
    [
        (500, Limits(), "500 environments in 5 pages and ", ""),
        (
            1_200,
            Limits(),
            ": polls come every 12s, not every 5s: 12 pages at 60 requests a minute take 12s",
            "`page_size = 300`, or `requests_per_minute = 144`: polls every 5s, if the server allows so many requests",
        ),
        (
            60,
            Limits(page_size=10, interval=timedelta(seconds=1)),
            ": polls come every 6s, not every 1s: 6 pages at 60 requests a minute take 6s",
            "`page_size = 100`, or `requests_per_minute = 360`: polls every 1s, if the server allows so many requests",
        ),
    ],
)
async def test_slow_polls_are_a_warning_with_settings_for_this_fleet(
    server: Faulty, rows: int, limits: Limits, summary: str, fix: str
) -> None:
    server.rows = wire_rows(rows)
    pace = (await examined(server.url, limits=limits))["pace"]
    assert summary in pace.summary
    assert pace.fix == fix
    assert (pace.data["rows"], pace.data["pages"]) == (rows, math.ceil(rows / limits.page_size))
    for remedy in cast("list[dict[str, Any]]", pace.data["remedies"]):
        settings = {name: value for name, value in remedy.items() if name != "interval_s"}
        mended = (await examined(server.url, limits=replace(limits, **settings)))["pace"]
        assert (mended.status, mended.fix) == (CheckStatus.OK, "")
        assert mended.data["interval_s"] == remedy["interval_s"]


@pytest.mark.parametrize(
    ("fault", "fix"),
    [
        (says(400, '{"message": "limit is too large"}'), "`requests_per_minute = 360`: polls every 1s"),
        (edits(lambda page: page.update(connections=page["connections"][:10], hasNextPage=True)), "every 1s"),
    ],
)
async def test_a_server_that_refuses_or_shortens_larger_pages_gets_no_advice_about_page_size(
    fault: Any, fix: str
) -> None:
    def only_large(reply: Reply) -> Reply:
        changed: Reply = fault(reply)
        return changed if reply.body.count(b'"id"') > 10 else reply

    async with faulty_server(wire_rows(60)) as server:
        server.break_page(0, only_large)
        pace = (await examined(server.url, limits=Limits(page_size=10, interval=timedelta(seconds=1))))["pace"]
    assert pace.status is CheckStatus.WARNING
    assert fix in pace.fix
    assert "page_size" not in pace.fix
    assert pace.fix.endswith("if the server allows so many requests (the server sends at most 10 environments a page)")


async def test_a_listing_that_takes_longer_than_the_interval_is_named_and_larger_pages_only_if_measured_faster(
    server: Faulty,
) -> None:
    server.break_every_page(lambda reply: replace(reply, latency=0.4))
    limits = Limits(page_size=1, interval=timedelta(seconds=1), requests_per_minute=6000)
    pace = (await examined(server.url, limits=limits))["pace"]
    assert re.search("polls come every [2-9]s, not every 1s: a listing takes [2-9]s$", pace.summary)
    assert pace.fix == "`page_size = 100`: polls every 1s"

    server.break_every_page(lambda reply: replace(reply, latency=0.4 * reply.body.count(b'"id"')))
    pace = (await examined(server.url, limits=limits))["pace"]
    assert pace.status is CheckStatus.WARNING
    assert pace.fix.startswith("no setting makes the listing faster: look at the network, the proxy and the server")
    assert pace.data["remedies"] == []


async def test_a_listing_that_takes_longer_than_walk_deadline_is_a_failure_that_names_the_setting(
    server: Faulty,
) -> None:
    server.break_every_page(lambda reply: replace(reply, latency=0.6))
    second = timedelta(seconds=1)
    findings = await examined(server.url, limits=Limits(page_size=1, page_deadline=second, walk_deadline=second))
    assert amiss(findings) == {"pace": "failure"}
    assert findings["pace"].summary.endswith("did not send the whole listing within 1 s")
    assert "`walk_deadline` allows more time" in findings["pace"].fix


def test_two_thousand_environments_of_the_demo_need_the_advised_request_budget(tmp_path: Path) -> None:
    def pace_with(**variables: str) -> dict[str, Any]:
        environ = environment(tmp_path, LETTA_API_KEY=demo.key, LETTA_BASE_URL=demo.base_url, **variables)
        done = programs.run([sys.executable, "-m", "envwatch", "doctor", "--json"], environ)
        found: dict[str, Any] = next(one for one in json.loads(done.stdout) if one["id"] == "pace")
        return found

    with closing(ChildServer.start(FleetSpec(2_000, 7))) as demo:
        pace = pace_with(ENVWATCH_INTERVAL="10s")
        assert "20 pages at 60 requests a minute take 20s" in pace["summary"]
        assert pace["fix"] == (
            "`requests_per_minute = 120`: polls every 10s, if the server allows so many requests "
            "(the server sends at most 100 environments a page)"
        )
        mended = pace_with(ENVWATCH_INTERVAL="10s", ENVWATCH_REQUESTS_PER_MINUTE="120")
        assert (mended["status"], mended["data"]["interval_s"]) == ("ok", 10)


async def test_a_refused_key_is_a_failure_of_the_listing(server: Faulty) -> None:
    server.break_page(0, says(401, json.dumps({"message": f"bad key {KEY}, {KEY[:12]}…"})))
    findings = await examined(server.url)
    assert amiss(findings) == {"listing": "failure"}
    assert "answered 401" in findings["listing"].summary
    assert "chat.letta.com/preferences/api-keys" in findings["listing"].fix
    assert "a token of `envwatch serve`: --new-token" in findings["listing"].fix


async def test_a_key_file_that_others_can_read_keeps_only_the_requests_from_being_checked(
    server: Faulty, tmp_path: Path
) -> None:
    file = tmp_path / "home.key"
    file.write_text(KEY)
    file.chmod(0o644)
    findings = await examined(server.url, {}, api_key_file=file)
    assert amiss(findings) == {"key": "failure"}
    assert findings["key"].fix == f"`chmod 600 {file}`"
    assert not_checked(findings, "key") == after("tcp")
    assert server.seen == []
    file.chmod(0o600)
    findings = await examined(server.url, {}, api_key_file=file)
    assert amiss(findings) == {}
    assert (findings["key"].data["file"], findings["key"].data["mode"]) == (str(file), "0600")


async def test_a_key_that_was_found_is_hidden_in_whatever_is_printed_later(server: Faulty, tmp_path: Path) -> None:
    file, key = tmp_path / "key", "a-key-of-another-kind-9876543210"
    file.write_text(key)
    file.chmod(0o600)
    assert key in redactor()(key)
    assert amiss(await examined(server.url, {}, api_key_file=file)) == {"listing": "failure"}
    assert redactor()(f"<{key}>") == "<…>"


async def test_no_key_is_a_failure_that_says_where_to_get_one() -> None:
    findings = await examined("http://127.0.0.1:9", {}, is_one_of_several=True)
    assert findings["key"].status is CheckStatus.FAILURE
    assert "api_key_file" in findings["key"].fix


async def test_an_address_that_the_key_may_not_go_to_is_a_failure_of_the_server() -> None:
    findings = await examined("http://api.letta.com")
    assert amiss(findings) == {"server": "failure"}
    assert findings["server"].summary.endswith("(see LETTA_BASE_URL)")
    assert not_checked(findings, "server") == [id_ for id_ in after("server") if id_ not in after("tcp")]


async def test_certificates_that_are_not_there_keep_tls_from_being_checked() -> None:
    async with faulty_server([], tls_of("localhost.pem")) as server:
        findings = await examined(server.url, {"LETTA_API_KEY": KEY, "SSL_CERT_FILE": "/nowhere/ca.pem"})
        assert server.seen == []
    assert amiss(findings) == {"certificates": "failure"}
    assert findings["certificates"].summary == "SSL_CERT_FILE names /nowhere/ca.pem: No such file or directory"
    assert not_checked(findings, "certificates") == after("tcp")


@pytest.mark.parametrize(("served", "trusted"), [("expired.pem", "expired.pem"), ("localhost.pem", "expired.pem")])
async def test_a_certificate_that_is_refused_is_a_failure_of_tls(served: str, trusted: str) -> None:
    async with faulty_server([], tls_of(served)) as server:
        findings = await examined(server.url, {"LETTA_API_KEY": KEY, "SSL_CERT_FILE": str(CERTS / trusted)})
        assert server.seen == []
    assert amiss(findings) == {"tls": "failure"}
    assert findings["tls"].summary.startswith("the certificate of localhost:")


async def test_a_clock_that_is_ten_minutes_off_is_a_warning(server: Faulty) -> None:
    server.break_health(skewed(600))  # type: ignore[arg-type]  # a fault that is no stop
    server.break_page(0, skewed(600))
    findings = await examined(server.url)
    assert amiss(findings) == {"clock": "warning"}
    assert re.match(r"this machine is (10m|9m 59s) behind the server", findings["clock"].summary)


async def test_a_proxy_that_refuses_is_a_failure_of_tls_without_its_password(server: Faulty) -> None:
    proxy = server.url.removeprefix("http://")
    environ = {"LETTA_API_KEY": KEY, "HTTPS_PROXY": f"http://user:hunter2@{proxy}"}
    findings = await examined("https://letta.invalid", environ)
    assert amiss(findings) == {"tls": "failure"}
    assert findings["tls"].summary == f"the proxy {proxy} refused: 401 Whatever"
    assert findings["proxy"].summary == f"{proxy} (HTTPS_PROXY)"
    assert "hunter2" not in repr(findings)


async def test_a_proxy_that_is_not_there_is_a_failure_of_tcp() -> None:
    proxy = f"127.0.0.1:{closed_port()}"
    findings = await examined("https://letta.invalid", {"LETTA_API_KEY": KEY, "HTTPS_PROXY": f"http://{proxy}"})
    assert amiss(findings) == {"tcp": "failure"}
    assert f"nothing listens at the proxy {proxy}" in findings["tcp"].summary


async def test_a_proxy_that_makes_no_sense_is_named() -> None:
    findings = await examined("https://letta.invalid", {"LETTA_API_KEY": KEY, "ALL_PROXY": "http://"})
    assert amiss(findings) == {"proxy": "failure"}
    assert "ALL_PROXY" in findings["proxy"].summary


async def test_a_sick_server_may_still_list(server: Faulty) -> None:
    server.break_health(says(500, "oops"))  # type: ignore[arg-type]
    findings = await examined(server.url)
    assert amiss(findings) == {"health": "failure"}
    assert "answered 500" in findings["health"].summary
    assert findings["listing"].status is CheckStatus.OK


async def test_a_page_that_does_not_come_in_time_is_a_failure(server: Faulty) -> None:
    server.break_page(0, Stop(Where.REQUEST, How.HANG))
    findings = await examined(server.url, limits=Limits(page_deadline=Limits().page_deadline / 5))
    assert amiss(findings) == {"listing": "failure"}
    assert findings["listing"].summary.endswith("did not answer within 2 s")


async def test_a_lookup_that_hangs_is_not_waited_for() -> None:
    done = Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_in_daemon_thread(done.wait)
    done.set()  # the late result disturbs nothing
    assert await run_in_daemon_thread(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(lambda: 1 / 0)


# The program.

ENVWATCH = (sys.executable, "-m", "envwatch")


async def ended(environ: Mapping[str, str], *arguments: str, command: tuple[str, ...] = ENVWATCH) -> tuple[int, str]:
    done = await asyncio.to_thread(programs.run, [*command, *arguments], environ)
    assert done.stderr == b""
    assert [piece for piece in PIECES if piece.encode() in done.stdout] == []
    return done.returncode, done.stdout.decode()


def environ_of(home: Path, url: str, **more: str) -> dict[str, str]:
    return environment(home, LETTA_API_KEY=KEY, LETTA_BASE_URL=url) | more


async def test_a_sound_machine_gets_a_line_for_each_used_function_and_a_verdict_and_no_terminal_library(
    server: Faulty, tmp_path: Path
) -> None:
    script = (
        "import sys; from envwatch.cli.main import main; code = main(); "
        "sys.exit(code or sorted({'textual', 'rich', 'click'} & set(sys.modules)) or 0)"
    )
    code, out = await ended(environ_of(tmp_path, server.url), "doctor", command=(sys.executable, "-c", script))
    lines = out.splitlines()
    assert code == 0
    everything = [check.id for check in (*machine.CONFIG, *way.PROFILE, *machine.MACHINE)]
    unused = {"proxy", "certificates", "tls", "tmux", "history", "hooks", "ping"}
    assert [line.split()[1] for line in lines[:-1]] == [id_ for id_ in everything if id_ not in unused]
    _, as_json = await ended(environ_of(tmp_path, server.url), "doctor", "--json")
    assert [entry["id"] for entry in json.loads(as_json)] == everything
    assert lines[-1] == "envwatch works here"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - as short as it is clear


async def test_json_is_an_array_of_checks_by_profile(server: Faulty, tmp_path: Path) -> None:
    for name, key in (("a", KEY), ("b", f"{KEY[::-1]}")):
        (tmp_path / f"{name}.key").write_text(key)
        (tmp_path / f"{name}.key").chmod(0o600)
    config = tmp_path / "config.toml"
    sections = (f'[profiles.{name}]\nbase_url = "{server.url}"\napi_key_file = "{name}.key"\n' for name in "ab")
    config.write_text("".join(sections))
    state = tmp_path / "state" / "envwatch"
    state.mkdir(parents=True)
    damaged = [str(state / f"{name}.json") for name in machine.STATE_FILES]
    for path in map(Path, damaged):
        path.write_text("[")
    environ = environ_of(tmp_path, server.url, XDG_STATE_HOME=str(state.parent))
    code, out = await ended(environ, "doctor", "--json", "--profile", "a,b", "--config", str(config))
    entries = json.loads(out)
    assert code == 1
    of_machine = [None] * len(machine.MACHINE)
    assert [entry["profile"] for entry in entries] == [None, *["a"] * len(WAY), *["b"] * len(WAY), *of_machine]
    assert {tuple(entry) for entry in entries} == {tuple(promises()["A finding of `doctor`"])}
    assert [(one["id"], one["profile"]) for one in entries if one["status"] == "failure"] == [("listing", "b")]
    assert entries[0]["data"]["origins"]["a"]["base_url"] == f"{config}:2"
    assert {entry["id"]: entry["data"] for entry in entries}["state"]["damaged"] == damaged
    assert KEY[::-1][:8] not in out


async def test_the_login_of_the_letta_cli_brings_its_address_and_its_end(server: Faulty, tmp_path: Path) -> None:
    login = tmp_path / ".letta" / "settings.json"
    login.parent.mkdir()
    variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}
    login.write_text(json.dumps({"env": variables, "tokenExpiresAt": 4_102_444_800_000}))
    login.chmod(0o644)
    code, out = await ended(environment(tmp_path), "doctor", "--json")
    entries = {entry["id"]: entry for entry in json.loads(out)}
    assert (code, entries["key"]["status"], entries["listing"]["status"]) == (0, "warning", "ok")
    assert entries["key"]["fix"] == f"`chmod 600 {login}`"
    assert entries["key"]["data"] == {
        "origin": "~/.letta/settings.json",
        "file": str(login),
        "mode": "0644",
        "expires_at": "2100-01-01T00:00:00+00:00",
    }
    assert entries["server"]["data"] == {"base_url": server.url, "origin": "~/.letta/settings.json"}


async def test_ctrl_c_ends_a_check_that_hangs(server: Faulty, tmp_path: Path) -> None:
    server.break_page(0, Stop(Where.REQUEST, How.HANG))
    with programs.piped([*ENVWATCH, "doctor"], environ_of(tmp_path, server.url)) as (process, out, err):
        while not (line := await asyncio.to_thread(out.readline)).startswith(b"ok    health"):
            assert line
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == 130
        assert (out.read(), err.read()) == (b"", b"")


def test_a_poor_machine_gets_a_fix_beside_each_failure_on_80_columns(tmp_path: Path) -> None:
    state, config = tmp_path / "state", tmp_path / "config.toml"
    state.touch()
    config.write_text("interval = 0\ncolor = 1\n")
    more = {"TERM": "dumb", "XDG_STATE_HOME": str(state), "ENVWATCH_CONFIG": str(config)}
    environ = environ_of(tmp_path, "http://127.0.0.1:9", **more)
    with Terminal([*ENVWATCH, "doctor"], environ, lines=60) as terminal:
        assert terminal.wait_for_end() == 1
        assert b"\x1b" not in terminal.received
        lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[1] for line in lines if line.startswith("FAIL")] == ["config", "terminal", "state"]
    assert sum(line.startswith(f"{'':19}fix: ") for line in lines) == 3
    text = " ".join(" ".join(lines).split())
    skipped = f"{len([*WAY, 'hooks', 'ping'])} not checked"
    assert f"envwatch does not work here: 3 failures (config, terminal, state), {skipped}" in text


async def test_the_rows_that_count_are_counted_and_rows_watched_for_under_two_days_are_named(
    empty_home: Path,  # noqa: ARG001  a state folder of its own
) -> None:
    rows = [up(name, time.time() * 1000) for name in ("web", "new-1", "new-2", "run")]
    rows[3]["deviceId"] = "sandbox-agent-1"
    async with faulty_server(rows) as server:
        hours = {"web": 50, "new-1": 40, "new-2": 40}
        uptimes = {
            clean(id_): Uptime(at=(50 - lasts) * HOUR).after(50 * HOUR, is_up=True) for id_, lasts in hours.items()
        }
        path = uptime_file_for(server.url.partition("://")[2], Settings())
        merge(path, UPTIME, content_of(UptimeRecord(50 * HOUR, uptimes)))
        found = (await examined(server.url))["alerts"]
    assert found.summary == "1 row counts, 1 in a sandbox, 2 watched for under two days: new-1, new-2"
    assert found.data == {"rows": 4, "counting": 1, "new": ["new-1", "new-2"]}
