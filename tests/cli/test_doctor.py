"""`envwatch doctor`: checks of this machine and of servers, the order of checks, findings, the program.

Each broken thing has a problem with a fix, and no finding has the key. The transcripts have the common failures.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest
from support import programs
from support.builders import wire_rows
from support.documents import promises
from support.faulty_server import KEY, How, Stop, Where, edits, faulty_server, proxy_to, says, skewed, up
from support.pty_terminal import environment

from envwatch.alerts.uptime_record import UptimeRecord, uptime_content
from envwatch.cli import doctor
from envwatch.cli.doctor import (
    MACHINE,
    PROFILE,
    CheckedServer,
    Finding,
    run_checks,
)
from envwatch.config.credentials import KEYS_PAGE
from envwatch.config.settings import Settings
from envwatch.fleet.uptime import Uptime
from envwatch.letta.daemon_thread import run_in_daemon_thread
from envwatch.model.limits import CERTIFICATE_WARN_FROM, SLOW_PAGE, Limits
from envwatch.model.redactor import redactor
from envwatch.model.text import clean
from envwatch.model.times import MS
from envwatch.watch.state_file import UPTIME, merge
from envwatch.watch.state_files import uptime_file_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from support.faulty_server import Fault, Faulty, Reply
    from support.in_process import Envwatch


CERTS = Path(__file__).parents[1] / "support" / "certs"
HOUR = 3_600_000.0
PIECES = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
IDS = [check.id for check in PROFILE]

pytestmark = pytest.mark.usefixtures("empty_home")


@pytest.fixture
async def server() -> AsyncIterator[Faulty]:
    async with faulty_server(wire_rows(3)) as faulty:
        yield faulty


def tls_of(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / name)
    return context


async def examined(
    url: str,
    environ: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    wall: Callable[[], float] = lambda: time.time() * 1000,
    **settings: Any,
) -> dict[str, Finding]:
    """Return the findings about a server by id, asserted free of the key even before redaction."""
    variables = {"LETTA_API_KEY": KEY} if environ is None else environ
    subject = CheckedServer(Settings(limits=limits or Limits(), **settings), {"LETTA_BASE_URL": url, **variables}, wall)
    async with aclosing(subject):
        found = {finding["id"]: finding async for finding in run_checks(PROFILE, subject, {})}
    assert [piece for piece in PIECES if piece in json.dumps(found)] == []
    assert [*found] == IDS
    assert [
        id_ for id_, one in found.items() if bool(one["fix"]) is not (one["status"] in {"warning", "failure"})
    ] == []
    return found


def problems(findings: Mapping[str, Finding]) -> dict[str, str]:
    return {id_: one["status"] for id_, one in findings.items() if one["fix"]}


def left_out(findings: Mapping[str, Finding]) -> list[str]:
    return [id_ for id_, one in findings.items() if "needs" in one["data"]]


def moved(milliseconds: int) -> Fault:
    """Let every second answer have another `firstSeenAt` in its first row."""
    turns = [0]

    def change(page: dict[str, Any]) -> None:
        turns[0] += 1
        page["connections"][0]["firstSeenAt"] += milliseconds * (turns[0] % 2)

    return edits(change)


def late(seconds: float) -> Fault:
    """Let the second page wait: the first page belongs to the listing."""
    turns = [0]

    def fault(reply: Reply) -> Reply:
        turns[0] += 1
        return replace(reply, latency=seconds if turns[0] == 2 else 0.0)

    return fault


QUICK = Limits(page_deadline=SLOW_PAGE + timedelta(seconds=0.5))


@pytest.mark.parametrize(
    ("fault", "problem", "summary", "fix"),
    [
        (says(401, f'{{"message": "bad key {KEY}, {KEY[:12]}…"}}'), "failure", "answered 401: bad key", KEYS_PAGE),
        (says(404), "failure", "answered 404", "to a server that has environments"),
        (says(418), "failure", "answered 418", "ask the server's operators"),
        (late(SLOW_PAGE / timedelta(seconds=1)), "warning", "a page takes ", "a smaller --page-size"),
        (Stop(Where.REQUEST, How.HANG), "failure", "did not send page 1 within 2.5 s", "page_deadline"),
    ],
)
async def test_a_fault_of_the_listing_is_the_only_problem(
    server: Faulty, fault: Fault, problem: str, summary: str, fix: str
) -> None:
    server.break_page(0, fault)
    found = await examined(server.url, limits=QUICK)
    assert problems(found) == {"poll": problem}
    assert summary in found["poll"]["summary"]
    assert fix in found["poll"]["fix"]
    assert left_out(found) == (["machines"] if problem == "failure" else [])


@pytest.mark.parametrize(("milliseconds", "problem"), [(999, {}), (1_000, {"machines": "warning"})])
async def test_a_server_with_a_changing_first_seen_at_is_named(
    server: Faulty, milliseconds: int, problem: dict[str, str]
) -> None:
    """Two replicas may round one instant differently."""
    server.break_page(0, moved(milliseconds))
    found = await examined(server.url)
    assert problems(found) == problem
    what = "1 machine changed firstSeenAt or the device between two requests"
    assert (found["machines"]["summary"] == what) is bool(problem)


@pytest.mark.parametrize(
    ("status", "place"), [(200, None), (404, None), (301, "connection"), (401, "poll"), (500, "connection")]
)
async def test_a_sick_server_may_still_list(server: Faulty, status: int, place: str | None) -> None:
    server.break_health(says(status, "oops"))
    found = await examined(server.url)
    assert problems(found) == ({} if place is None else {place: "warning"})
    assert found["connection"]["data"]["status"] == status
    assert found["poll"]["data"]["machines"]


async def test_a_refused_key_is_named_once(server: Faulty) -> None:
    server.break_health(says(401, "no such key"))
    server.break_page(0, says(401, "no such key"))
    assert problems(await examined(server.url)) == {"poll": "failure"}


CLOSED = "127.0.0.1:1"
"""Nothing listens on this reserved port."""
NETWORK = "check the address, the network, the firewall, and HTTPS_PROXY"
AWAY = "https://letta.invalid"


@pytest.mark.parametrize(
    ("url", "environ", "check", "summary", "fix"),
    [
        ("http://api.letta.com", {}, "address", "must start with https://", "https://host"),
        (
            AWAY,
            {"HTTPS_PROXY": f"http://{CLOSED}"},
            "connection",
            "nothing listens at the proxy 1",
            NETWORK,
        ),
        (AWAY, {"ALL_PROXY": "http://"}, "address", "ALL_PROXY names no host", "unset it"),
        (AWAY, {"SSL_CERT_FILE": "/nowhere/ca.pem"}, "address", "/nowhere/ca.pem: No such file", "unset it"),
    ],
)
async def test_a_fault_on_the_way_is_found_with_and_without_a_key(
    url: str, environ: Mapping[str, str], check: str, summary: str, fix: str
) -> None:
    for key, more in (({"LETTA_API_KEY": KEY}, {}), ({}, {"key": "failure"})):
        found = await examined(url, {**key, **environ})
        assert problems(found) == {check: "failure", **more}
        assert summary in found[check]["summary"]
        assert fix in found[check]["fix"]
        assert left_out(found) == [*(["connection"] if check == "address" else []), "poll", "machines", "clock"]


async def test_no_key_leaves_out_only_the_listing_and_sends_none(server: Faulty) -> None:
    found = await examined(server.url, {})
    assert problems(found) == {"key": "failure"}
    assert "export LETTA_API_KEY" in found["key"]["fix"]
    assert left_out(found) == ["poll", "machines"]
    assert [(seen.path, "authorization" in seen.headers) for seen in server.seen] == [("/v1/health", False)]
    for status, sick in ((401, {}), (500, {"connection": "warning"})):
        server.break_health(says(status, "no"))
        assert problems(await examined(server.url, {})) == {"key": "failure", **sick}
    server.break_health(skewed(600))  # type: ignore[arg-type]
    found = await examined(server.url, {})
    assert problems(found) == {"key": "failure", "clock": "warning"}
    assert re.match(r"this machine is (10m|9m 59s) behind the server", found["clock"]["summary"])
    of_several = await examined(server.url, {}, is_one_of_several=True)
    assert "api_key_file" in of_several["key"]["fix"]


async def test_a_refusing_proxy_is_a_failure_without_the_password(server: Faulty) -> None:
    proxy = server.url.removeprefix("http://")
    environ = {"LETTA_API_KEY": KEY, "HTTPS_PROXY": f"http://user:hunter2@{proxy}"}
    found = await examined("https://letta.invalid", environ)
    assert problems(found) == {"connection": "failure"}
    assert found["connection"]["summary"] == f"the proxy {proxy} refused: 401 Whatever"
    assert found["address"]["data"]["proxy"] == proxy
    assert "hunter2" not in repr(found)


async def test_a_refused_certificate_is_a_failure() -> None:
    async with faulty_server([], tls_of("localhost.pem")) as server:
        found = await examined(server.url, {"LETTA_API_KEY": KEY, "SSL_CERT_FILE": str(CERTS / "expired.pem")})
        assert server.seen == []
    assert problems(found) == {"connection": "failure"}
    assert found["connection"]["summary"].startswith("the certificate of localhost:")
    assert left_out(found) == ["poll", "machines", "clock"]


@pytest.mark.parametrize("is_proxied", [False, True])
async def test_the_end_of_a_certificate_within_a_week_is_a_warning(*, is_proxied: bool) -> None:
    environ = {"LETTA_API_KEY": KEY, "SSL_CERT_FILE": str(CERTS / "localhost.pem")}
    async with faulty_server(wire_rows(3), tls_of("localhost.pem")) as server, proxy_to(server) as proxy:
        url = "https://letta.test" if is_proxied else server.url
        environ |= {"HTTPS_PROXY": proxy} if is_proxied else {}
        sound = await examined(url, environ)
        assert problems(sound) == {}
        data = sound["connection"]["data"]
        assert (data["tls"], data["valid_until"][:5]) == ("TLSv1.3", "2126-")
        end = datetime.fromisoformat(data["valid_until"]).timestamp() * 1000
        for left, status in ((CERTIFICATE_WARN_FROM / MS, "ok"), (CERTIFICATE_WARN_FROM / MS - 1, "warning")):
            found = await examined(url, environ, wall=lambda now=end - left: now)  # type: ignore[misc]
            assert found["connection"]["status"] == status
    assert sound["address"]["data"]["certificates_variable"] == "SSL_CERT_FILE"
    assert sound["address"]["data"]["proxy_variable"] == ("HTTPS_PROXY" if is_proxied else None)


async def test_a_sound_server_has_no_problem(server: Faulty) -> None:
    found = await examined(server.url)
    statuses = {id_: one["status"] for id_, one in found.items()}
    assert statuses == {**dict.fromkeys(IDS, "ok"), "ping": "skipped"}
    assert [seen.path for seen in server.seen] == ["/v1/health", "/v1/environments", "/v1/environments"]
    assert found["key"]["data"]["origin"] == "LETTA_API_KEY"
    assert found["connection"]["data"]["status"] == 200
    assert (found["poll"]["data"]["machines"], found["poll"]["data"]["data_age_s"]) == (3, None)


async def test_a_relay_is_named_with_the_version_and_the_age_of_the_listing(server: Faulty) -> None:
    server.break_health(says(200, '{"version": "envwatch-1.2.0", "status": "ok"}'))
    server.break_every_page(lambda reply: replace(reply, headers={**reply.headers, "Envwatch-Listing-Age": "50.125"}))
    found = await examined(server.url)
    assert problems(found) == {}
    assert found["connection"]["data"]["version"] == "envwatch-1.2.0"
    assert found["poll"]["data"]["data_age_s"] == 50.125


@pytest.mark.parametrize("version", [None, 7, "", ["x"], {"x": 1}, f"\x1b[2J{KEY}\n{'x' * 500}"])
async def test_a_version_is_a_short_clean_line_or_left_out(server: Faulty, version: object) -> None:
    server.break_health(says(200, json.dumps({"version": version})))
    summary = (await examined(server.url))["connection"]["summary"]
    assert ("version" in summary) is (isinstance(version, str) and version != "")
    assert summary.isprintable()
    assert len(summary) < 200


@pytest.mark.parametrize(
    "fault",
    [
        says(400, '{"message": "limit is too large"}'),
        edits(lambda page: page.update(connections=page["connections"][:10], hasNextPage=True)),
    ],
)
async def test_a_server_without_larger_pages_gets_no_advice_about_page_size(fault: Any) -> None:
    def only_large(reply: Reply) -> Reply:
        return cast("Reply", fault(reply)) if reply.body.count(b'"id"') > 10 else reply

    async with faulty_server(wire_rows(60)) as server:
        server.break_page(0, only_large)
        found = await examined(server.url, limits=Limits(page_size=10, interval=timedelta(seconds=1)))
    assert found["poll"]["fix"] == (
        "`requests_per_minute = 360`: polls every 1s, if the server allows so many requests "
        "(the server sends at most 10 machines a page)"
    )


@pytest.mark.slow
async def test_larger_pages_are_not_advised_if_measured_as_slow(server: Faulty) -> None:
    server.break_every_page(lambda reply: replace(reply, latency=0.4 * reply.body.count(b'"id"')))
    limits = Limits(page_size=1, interval=timedelta(seconds=1), requests_per_minute=6000)
    found = (await examined(server.url, limits=limits))["poll"]
    assert re.match("polls come every [2-9]s, not every 1s: a poll takes [2-9]s$", found["summary"])
    assert found["fix"].startswith("no setting makes the polls faster: look at the network, the proxy and the server")
    assert found["data"]["remedies"] == []


async def test_alerting_rows_are_counted_and_rows_watched_for_under_two_days_are_named() -> None:
    rows = [up(name, time.time() * 1000) for name in ("web", "new-1", "new-2", "run")]
    rows[3]["deviceId"] = "sandbox-agent-1"
    async with faulty_server(rows) as server:
        hours = {"web": 50, "new-1": 40, "new-2": 40}
        uptimes = {
            clean(id_): Uptime(at=(50 - lasts) * HOUR).after(50 * HOUR, is_up=True) for id_, lasts in hours.items()
        }
        path = uptime_file_for(server.url.partition("://")[2], Settings())
        merge(path, UPTIME, uptime_content(UptimeRecord(50 * HOUR, uptimes)))
        found = (await examined(server.url))["machines"]
    tally = "1 machine pages; not: 1 in a sandbox, 2 watched for under two days: new-1, new-2"
    assert found["data"] == {"tally": tally, "machines": 4, "that_page": 1, "new": ["new-1", "new-2"]}


async def test_an_unreadable_file_of_expected_names_is_a_failure(server: Faulty, tmp_path: Path) -> None:
    found = await examined(server.url, expect_file=tmp_path / "missing")
    assert problems(found) == {"machines": "failure"}
    assert str(tmp_path / "missing") in found["machines"]["summary"]


@pytest.mark.parametrize(
    ("mode", "problem"),
    [(0o600, {}), (0o640, {"key": "failure"})],
)
async def test_a_key_file_is_private(server: Faulty, tmp_path: Path, mode: int, problem: dict[str, str]) -> None:
    file = tmp_path / "home.key"
    file.write_text(KEY)
    file.chmod(mode)
    found = await examined(server.url, {}, api_key_file=file)
    assert problems(found) == problem
    if problem:
        assert found["key"]["fix"] == f"`chmod 600 {file}`"
        assert left_out(found) == ["poll", "machines"]
        assert ["authorization" in seen.headers for seen in server.seen] == [False]
    else:
        assert (found["key"]["data"]["file"], found["key"]["data"]["mode"]) == (str(file), "0600")


@pytest.mark.parametrize(("mode", "problem"), [(0o600, {}), (0o640, {"key": "warning"})])
async def test_the_login_of_the_letta_cli_brings_address_and_end_and_is_private(
    server: Faulty, empty_home: Path, mode: int, problem: dict[str, str]
) -> None:
    login = empty_home / ".letta" / "settings.json"
    login.parent.mkdir()
    variables = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.url}
    login.write_text(json.dumps({"env": variables, "tokenExpiresAt": 4_102_444_800_000}))
    login.chmod(mode)
    found = await examined("", {})
    assert problems(found) == problem
    assert found["key"]["fix"] == (f"`chmod 600 {login}`" if problem else None)
    assert found["key"]["data"] == {
        "origin": "~/.letta/settings.json",
        "file": str(login),
        "mode": f"0{mode:o}",
        "expires_at": "2100-01-01T00:00:00.000Z",
    }
    data = found["address"]["data"]
    assert (data["base_url"], data["origin"]) == (server.url, "~/.letta/settings.json")


async def test_a_found_key_is_hidden_in_all_later_output(server: Faulty, tmp_path: Path) -> None:
    file, key = tmp_path / "key", "a-key-of-another-kind-9876543210"
    file.write_text(key)
    file.chmod(0o600)
    assert key in redactor()(key)
    assert problems(await examined(server.url, {}, api_key_file=file)) == {"poll": "failure"}
    assert redactor()(f"<{key}>") == "<…>"


async def test_a_hanging_lookup_delays_nothing() -> None:
    done = Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_in_daemon_thread(done.wait)
    done.set()  # the late result disturbs nothing
    assert await run_in_daemon_thread(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(lambda: 1 / 0)


def test_every_check_is_run() -> None:
    written = {each for name, each in vars(doctor).items() if name.startswith("check_") and iscoroutinefunction(each)}
    assert {check.examine for check in (*MACHINE, *PROFILE)} == written
    assert {need for check in (*MACHINE, *PROFILE) for need in check.needs} <= {"config", *IDS}


# The program.

ENVWATCH = (sys.executable, "-m", "envwatch")


async def test_json_is_an_array_of_checks_by_profile_and_nothing_is_written(server: Faulty, envwatch: Envwatch) -> None:
    config = envwatch.write_config("")
    for name, key in (("a", KEY), ("b", f"{KEY[::-1]}")):
        config.with_name(f"{name}.key").write_text(key)
        config.with_name(f"{name}.key").chmod(0o600)
    sections = (f'[profiles.{name}]\nbase_url = "{server.url}"\napi_key_file = "{name}.key"\n' for name in "ab")
    config.write_text("".join(sections))
    before = set(envwatch.home.rglob("*"))
    ended = await asyncio.to_thread(envwatch, "doctor", "-o", "json", "--profile", "b,a")
    entries = json.loads(ended.out)
    assert (ended.code, ended.err) == (1, "")
    assert [entry["id"] for entry in entries] == [check.id for check in (*MACHINE, *PROFILE, *PROFILE)]
    assert [entry["profile"] for entry in entries] == [None] * len(MACHINE) + ["b"] * len(IDS) + ["a"] * len(IDS)
    assert {tuple(entry) for entry in entries} == {tuple(promises()["A finding of `doctor`"])}
    assert {entry["status"] for entry in entries} <= set(promises()["Its `status`"])
    assert [(one["id"], one["profile"]) for one in entries if one["status"] == "failure"] == [("poll", "b")]
    assert [(one["id"], one["profile"]) for one in entries if "needs" in one["data"]] == [("machines", "b")]
    assert entries[0]["data"]["origins"]["a"]["base_url"] == f"{config}:2"
    assert entries[0]["summary"] == f"file {config}, profile b (--profile) and a (--profile)"
    assert KEY[::-1][:8] not in ended.out
    assert set(envwatch.home.rglob("*")) == before


async def test_a_mistake_of_the_file_is_named_as_config_validate_names_it(server: Faulty, envwatch: Envwatch) -> None:
    """A clash of keys keeps the dashboard from starting; an unreadable file of tokens keeps only `serve`."""
    for text, code in (
        ('[keys]\nmachine.copy = "q"\napp.help = "h"\n', 1),
        ('[views.gpu]\nkey = "n"\n', 1),
        ('serve_tokens_file = "none"\n', 0),
    ):
        envwatch.write_config(text)
        envwatch.connect(server.url)
        validated = await asyncio.to_thread(envwatch, "config", "validate")
        mistakes = [line.removeprefix("envwatch: ") for line in validated.err.splitlines()]
        ended = await asyncio.to_thread(envwatch, "doctor", "-o", "json")
        (config,) = (one for one in json.loads(ended.out) if one["id"] == "config")
        assert (validated.code, ended.code, config["summary"]) == (2, code, "; ".join(mistakes))
        assert config["status"] == ("failure" if code else "warning")


async def test_the_server_that_gets_the_key_is_named_and_so_is_a_choice_that_is_missing(
    server: Faulty, envwatch: Envwatch
) -> None:
    """`LETTA_BASE_URL` is left from yesterday."""
    async with faulty_server(wire_rows(1)) as other:
        envwatch.connect(other.url)
        path = envwatch.write_config(f'[profiles.prod]\nbase_url = "{server.url}"\n')
        ended = await asyncio.to_thread(envwatch, "doctor")
        assert ended.out.endswith(f"; the key from LETTA_API_KEY goes to {server.url} ({path}:2)\n")
        assert other.seen == []
        path.write_text(f'{path.read_text()}[profiles.lab]\nbase_url = "{server.url}"\n')
        server.seen.clear()
        for key in (KEY, ""):
            ended = await asyncio.to_thread(envwatch, "doctor", LETTA_API_KEY=key)
            assert ended.code == 1
            assert ended.out.startswith(f"FAIL  config       no profile is chosen, and {path} has prod, lab\n")
            assert "1 failure (config)" in ended.out
        assert (server.seen, other.seen) == ([], [])


async def test_ctrl_c_ends_a_hanging_check(server: Faulty, tmp_path: Path) -> None:
    environ = environment(tmp_path, LETTA_API_KEY=KEY, LETTA_BASE_URL=server.url)
    server.break_page(0, Stop(Where.REQUEST, How.HANG))
    with programs.piped([*ENVWATCH, "doctor", "--verbose"], environ) as (process, out, err):
        while not (line := await asyncio.to_thread(out.readline)).startswith(b"ok    connection"):
            assert line
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, programs.TIMEOUT_S) == 130
        assert (out.read(), err.read()) == (b"", b"")
