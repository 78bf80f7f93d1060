"""The checks of `envwatch doctor` at boundaries, the order, and the printed findings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import termios
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment

from envwatch.cli.doctor import check
from envwatch.cli.doctor.check import (
    Check,
    CheckStatus,
    Finding,
    failed_request,
    failure,
    findings_of,
    ok,
    skipped,
    warning,
)
from envwatch.cli.doctor.machine import MachineContext, check_config, check_state, check_terminal, check_tmux
from envwatch.cli.doctor.server import (
    ServerContext,
    check_clock,
    check_health,
    check_key,
    check_listing,
    check_tcp,
    check_tls,
)
from envwatch.config.credentials import Credentials
from envwatch.config.settings import Settings
from envwatch.model import limits
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.text import cells, clean
from envwatch.redactor import Redactor, Secret
from envwatch.sources.letta.probe import Exchange, Probe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from envwatch.model.text import SafeText

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
WALL = WallMs(NOW)
MS = timedelta(milliseconds=1)
TERMINAL: dict[str, Any] = {"term": "xterm-256color", "columns": 80, "lines": 24, "encoding": "utf-8"}


class Answers(Probe):
    def __init__(self, *pages: Exchange, tls_until: WallMs | None = None, refused: tuple[SafeText, ...] = ()) -> None:
        super().__init__(base_url="https://x", limits=Limits(), environ={}, wall=lambda: WALL, monotonic=lambda: 0.0)
        self._pages = iter(pages)
        self._refused = refused
        self.tls = (clean("TLSv1.3"), tls_until)

    async def connect(self, *_: object) -> tuple[SafeText, timedelta, tuple[SafeText, ...]]:
        return clean("192.0.2.7"), 5 * MS, self._refused

    async def health(self) -> Exchange:
        return exchange()

    async def first_page(self, page_size: int | None = None) -> Exchange:  # noqa: ARG002 - as in the base class
        return next(self._pages)


def exchange(**changes: Any) -> Exchange:
    return Exchange(**{"status": 200, "took": 12 * MS, "offset": None, "environments": beating(3), **changes})


def server(environ: Mapping[str, str] | None = None, **known: Any) -> ServerContext:
    context = ServerContext(Settings(), environ or {}, lambda: WALL)
    for name, value in known.items():
        setattr(context, name, value)
    return context


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def listing_of(*pages: Exchange) -> Finding:
    return await check_listing(server(probe=Answers(*pages)))


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({}, CheckStatus.OK, "xterm-256color, 80x24, UTF-8, 256 colours"),
        ({"columns": 40, "lines": 8}, CheckStatus.OK, "40x8"),
        ({"columns": 39}, CheckStatus.WARNING, "too small"),
        ({"lines": 7}, CheckStatus.WARNING, "too small"),
        ({"encoding": "UTF8"}, CheckStatus.OK, "UTF8"),
        ({"encoding": "ascii"}, CheckStatus.WARNING, "not UTF-8"),
        ({"term": "dumb"}, CheckStatus.FAILURE, "TERM is dumb"),
        ({"term": ""}, CheckStatus.FAILURE, "TERM is not set"),
    ],
)
async def test_a_terminal_is_judged_by_what_the_dashboard_needs(
    changes: dict[str, Any], status: CheckStatus, said: str
) -> None:
    term, columns, lines, encoding = (TERMINAL | changes).values()
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (lines, columns))
    with open(theirs, "w", encoding=encoding) as stream:  # noqa: ASYNC230, PTH123 - a terminal of this process
        finding = await check_terminal(MachineContext({}, {"TERM": term}, streams=(stream,)))
    os.close(ours)
    assert (finding.status, said in finding.summary) == (status, True), finding
    assert bool(finding.fix) == (status is not CheckStatus.OK)


@pytest.mark.parametrize(
    ("set_clipboard", "passthrough", "status"),
    [
        ("on", "", CheckStatus.OK),
        ("on", "off", CheckStatus.OK),
        ("external", "on", CheckStatus.OK),
        ("external", "all", CheckStatus.OK),
        ("external", "off", CheckStatus.WARNING),
        ("off", "", CheckStatus.WARNING),
        ("", "", CheckStatus.WARNING),
    ],
)
async def test_tmux_needs_one_of_two_settings_to_pass_a_copy_on(
    tmp_path: Path, set_clipboard: str, passthrough: str, status: CheckStatus
) -> None:
    program = tmp_path / "tmux"
    program.write_text(f"#!/bin/sh\necho '{set_clipboard} {passthrough}'\n")
    program.chmod(0o755)
    finding = await check_tmux(MachineContext({}, {"PATH": str(tmp_path), "TMUX": "x"}))
    assert finding.status is status
    assert ("set-clipboard on" in finding.fix) == (status is CheckStatus.WARNING)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
async def test_tmux_itself_is_asked_for_its_settings(tmp_path: Path) -> None:
    server = tmp_path / "tmux"
    tmux = ("tmux", "-S", str(server), "-f", "/dev/null")
    subprocess.run([*tmux, "new-session", "-d", "sleep", "60"], check=True, env={"PATH": os.environ["PATH"]})  # noqa: ASYNC221
    environ = {"PATH": os.environ["PATH"], "TMUX": f"{server},1,0"}
    try:
        for value in ("off", "on", "external"):
            subprocess.run([*tmux, "set-option", "-s", "set-clipboard", value], check=True)  # noqa: ASYNC221
            finding = await check_tmux(MachineContext({}, environ))
            assert finding.data["set_clipboard"] == value
            assert finding.data["allow_passthrough"] in {"off", ""}  # empty before tmux 3.3
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)  # noqa: ASYNC221
    silent = await check_tmux(MachineContext({}, environ))
    assert (silent.status, silent.summary) == (
        CheckStatus.SKIPPED,
        "no settings known: tmux does not give its settings",
    )
    missing = await check_tmux(MachineContext({}, environ | {"PATH": str(tmp_path / "empty")}))
    assert (missing.status, missing.summary) == (
        CheckStatus.SKIPPED,
        "no settings known: there is no program tmux",
    )


@pytest.mark.parametrize(("offset_ms", "status"), [(0, "ok"), (4_999, "ok"), (5_000, "warning"), (-5_000, "warning")])
async def test_a_clock_is_wrong_from_the_offset_from_which_the_screen_warns(offset_ms: float, status: str) -> None:
    finding = await check_clock(server(offsets=[OffsetBounds(offset_ms - 500, offset_ms + 500)]))
    assert finding.status == status
    assert finding.data["offset_s"] == offset_ms / 1000


@pytest.mark.parametrize(("offset_s", "said"), [(600, "10m behind the server"), (-600, "10m ahead of the server")])
async def test_a_clock_that_is_ten_minutes_off_says_so_with_its_bounds(offset_s: int, said: str) -> None:
    first, second = (offset_s - 3, offset_s + 2), (offset_s - 2, offset_s + 3)
    offsets = [OffsetBounds(low * 1000, high * 1000) for low, high in (first, second)]
    finding = await check_clock(server(offsets=offsets))
    assert finding.status is CheckStatus.WARNING
    assert said in finding.summary
    assert (finding.data["low_s"], finding.data["high_s"]) == (offset_s - 2, offset_s + 2)
    assert f"{offset_s - 2:+.1f} to {offset_s + 2:+.1f} s" in finding.summary


async def test_a_date_that_contradicts_every_heartbeat_is_a_fault_of_the_servers_clock() -> None:
    rows = [environment(f"env-{number}", lastHeartbeat=WALL - 10_000) for number in range(3)]
    offsets = [OffsetBounds(599_500, 600_500)]
    finding = await check_clock(server(offsets=offsets, first_page=exchange(environments=rows)))
    assert finding.summary == "the server's clock (Date) is 10m ahead of this machine's and all heartbeats"
    assert "set the server's clock" in (finding.fix or "")
    old = [environment("env-0", lastHeartbeat=WALL - 600_000)]
    finding = await check_clock(server(offsets=offsets, first_page=exchange(environments=old)))
    assert finding.summary.startswith("this machine is 10m behind the server")


async def test_responses_without_a_date_leave_the_clock_unknown() -> None:
    assert (await check_clock(server())).status is CheckStatus.WARNING


@pytest.mark.parametrize(("moved_ms", "is_amiss"), [(999, False), (1_000, True)])
async def test_a_server_that_changes_first_seen_at_is_named(moved_ms: int, *, is_amiss: bool) -> None:
    """Two replicas may round one instant differently."""
    rows = [environment("env-1"), environment("env-2")]
    moved = [environment("env-1"), environment("env-2", firstSeenAt=rows[1].first_seen_at + moved_ms)]
    finding = await listing_of(exchange(environments=rows), exchange(environments=moved))
    assert (finding.status is CheckStatus.WARNING) is is_amiss
    assert ("1 row changed firstSeenAt or the device between two requests" in finding.summary) is is_amiss


async def test_a_page_is_slow_from_two_seconds() -> None:
    fast, slow = exchange(took=limits.SLOW_PAGE - MS), exchange(took=limits.SLOW_PAGE)
    assert (await listing_of(fast, fast)).status is CheckStatus.OK
    finding = await listing_of(slow)
    assert (finding.status, finding.data["took_ms"]) == (CheckStatus.WARNING, 2000)


async def test_a_page_that_is_no_listing_keeps_status_and_latency() -> None:
    refused = Failure(Cause.UNAUTHORIZED, clean("refused"))
    finding = await listing_of(exchange(status=401, failure=refused))
    assert (finding.status, finding.data["status"], finding.data["took_ms"]) == (CheckStatus.FAILURE, 401, 12)
    assert "chat.letta.com/preferences/api-keys" in finding.fix


@pytest.mark.parametrize("cause", Cause)
def test_every_failure_of_a_request_has_a_fix(cause: Cause) -> None:
    finding = failed_request(Failure(cause, clean("it broke")))
    assert (finding.status, finding.summary, finding.data) == (CheckStatus.FAILURE, "it broke", {"cause": cause})
    assert finding.fix


@pytest.mark.parametrize(
    ("status", "result"), [(200, "ok"), (404, "ok"), (301, "failure"), (401, "failure"), (500, "failure")]
)
async def test_health_may_be_missing_but_not_bad(status: int, result: str) -> None:
    assert (await check_health(server(health=exchange(status=status)))).status == result


async def test_a_certificate_that_ends_within_a_week_is_reported() -> None:
    week = limits.CERTIFICATE_WARN_FROM / MS
    credentials = Credentials(key=Secret(KEY), base_url="https://x", origin="here")

    async def status(until: WallMs | None) -> CheckStatus:
        return (await check_tls(server(probe=Answers(tls_until=until), credentials=credentials))).status

    assert await status(WallMs(WALL + week)) is CheckStatus.OK
    assert await status(WallMs(WALL + week - 1)) is CheckStatus.WARNING
    assert await status(WallMs(WALL - 1)) is CheckStatus.WARNING
    assert await status(None) is CheckStatus.OK


async def test_addresses_that_take_no_connection_are_named() -> None:
    async def finding(*refused: SafeText) -> Finding:
        return await check_tcp(server(probe=Answers(refused=refused), addresses=()))

    refused = await finding(clean("2001:db8::1"))
    assert refused.status is CheckStatus.WARNING
    assert "but not 2001:db8::1" in refused.summary
    assert (await finding()).status is CheckStatus.OK


@pytest.mark.parametrize(
    ("mode", "status"), [(None, "ok"), (0o100600, "ok"), (0o100640, "warning"), (0o100604, "warning")]
)
async def test_the_login_of_another_program_should_be_private_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, status: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    login = tmp_path / ".letta" / "settings.json"
    login.parent.mkdir()
    login.write_text(json.dumps({"env": {"LETTA_API_KEY": KEY}, "tokenExpiresAt": WALL + 7_200_000}))
    login.chmod(0o600 if mode is None else mode)
    environ = {"LETTA_API_KEY": KEY} if mode is None else {}
    finding = await check_key(server(environ))
    assert finding.status == status
    assert ("expires in 2h" in finding.summary) == (mode is not None)
    assert finding.data["mode"] == (None if mode is None else f"0{mode & 0o777:o}")
    assert ("chmod 600" in finding.fix) == (status == "warning")


async def test_a_state_folder_that_cannot_be_written_is_a_failure_and_a_damaged_file_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def finding(parent: Path) -> Finding:
        monkeypatch.setenv("XDG_STATE_HOME", str(parent))
        return await check_state(MachineContext({}, {}))

    file, sound = tmp_path / "envwatch", tmp_path / "sound"
    file.touch()
    for parent in (tmp_path, file):
        failed = await finding(parent)
        assert (failed.status, failed.summary) == (
            CheckStatus.FAILURE,
            f"{parent / 'envwatch'} cannot be written: Not a directory",
        )
    assert (await finding(tmp_path / "new" / "folder")).status is CheckStatus.OK
    assert names_in(tmp_path) == [file.name]
    (sound / "envwatch").mkdir(parents=True)
    assert (await finding(sound)).status is CheckStatus.OK
    assert names_in(sound / "envwatch") == []
    (sound / "envwatch" / "state.json").write_text("[")
    damaged = await finding(sound)
    assert (damaged.status, "state.json is damaged" in damaged.summary) == (CheckStatus.WARNING, True)


async def test_the_first_of_several_mistakes_in_the_configuration_is_shown_and_all_are_in_the_json(
    tmp_path: Path,
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("interval = 0\ncolor = 1\n")
    finding = await check_config(MachineContext({"config": str(config)}, {}))
    first, second = cast("list[str]", finding.data["mistakes"])
    assert (finding.status, finding.summary) == (CheckStatus.FAILURE, f"{first} (the first of several mistakes)")
    assert [first.startswith(f"{config}:1: "), second.startswith(f"{config}:2: ")] == [True, True]


# The order of checks.


def returns(finding: Finding) -> Callable[[None], Awaitable[Finding]]:
    async def examine(_: None) -> Finding:
        return finding

    return examine


async def run(*checks: Check[None]) -> dict[str, Finding]:
    return {id_: finding async for id_, finding in findings_of(checks, None)}


@pytest.mark.parametrize("first", [failure("broken", "mend it"), skipped("nothing there")])
async def test_a_check_without_what_it_needs_is_skipped_and_names_the_root(first: Finding) -> None:
    findings = await run(
        Check("a", returns(first)),
        Check("b", returns(ok("never")), ("a",)),
        Check("c", returns(ok("never")), ("d", "b")),
        Check("d", returns(ok("runs"))),
    )
    assert [finding.summary for finding in findings.values()] == [
        first.summary,
        "not checked, because of a",
        "not checked, because of a",
        "runs",
    ]


async def test_a_warning_keeps_no_other_check_from_running() -> None:
    findings = await run(Check("a", returns(warning("hm", "mend it"))), Check("b", returns(ok("runs")), ("a",)))
    assert findings["b"].status is CheckStatus.OK


@pytest.mark.parametrize("error", [TimeoutError(), SourceError(Failure(Cause.TIMEOUT, clean("too slow")))])
async def test_a_check_that_takes_too_long_has_failed_and_the_others_run(error: Exception) -> None:
    async def hang(_: None) -> Finding:
        raise error

    findings = await run(Check("a", hang), Check("b", returns(ok("runs"))))
    assert [finding.status for finding in findings.values()] == [CheckStatus.FAILURE, CheckStatus.OK]
    assert findings["a"].fix


# Text and JSON.


def results(*findings: Finding, redact: Callable[[str], str] = str) -> list[check.Result]:
    return [check.Result(f"check{number}", None, finding, redact) for number, finding in enumerate(findings)]


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([ok("x"), skipped("x")], "envwatch works here"),
        ([ok("x"), warning("x", "y")], "envwatch works here, with 1 warning (check1)"),
        ([failure("x", "y"), warning("x", "y")], "envwatch does not work here: 1 failure (check0), 1 warning (check1)"),
        ([failure("x", "y"), skipped("x")], "envwatch does not work here: 1 failure (check0), 1 not checked"),
    ],
)
def test_the_verdict_names_what_is_amiss(findings: list[Finding], verdict: str) -> None:
    assert check.verdict_of(results(*findings)) == [verdict]
    assert " ".join(check.verdict_of(results(*findings), 30)) == verdict
    assert max(map(len, check.verdict_of(results(*findings), 30))) <= 30


@given(
    st.sampled_from([ok, skipped, warning, failure]), st.text(max_size=300), st.text(max_size=300), st.integers(20, 120)
)
def test_lines_fit_the_terminal_and_hold_no_control_characters(
    make: Callable[..., Finding], summary: str, fix: str, width: int
) -> None:
    finding = make(summary) if make in {ok, skipped} else make(summary, fix)
    (result,) = results(finding)
    lines = check.lines_of(result, width)
    assert all(line.isprintable() and cells(line) <= max(width, 49) for line in lines)
    assert "".join("".join(lines)[19:].split()).startswith("".join(result.summary.split())[:20])
    document = json.loads(check.json_of([result]))
    assert [entry["status"] for entry in document] == [finding.status]


PIECES = (*"aä\x1b\u202e\ufe0f ", KEY[:8], KEY[20:30], KEY, "\ufe0f".join(KEY))


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_no_piece_of_a_key_is_in_any_output_whatever_a_check_says(text: str) -> None:
    finding = failure(text, text, one=text, many=[text, {text: text}], number=3)
    (result,) = results(finding, redact=Redactor(KEY))
    pieces = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
    for output in ("\n".join(check.lines_of(result, None)), check.json_of([result])):
        assert [piece for piece in pieces if piece in output] == []
    assert json.loads(check.json_of([result]))[0]["data"]["number"] == 3
