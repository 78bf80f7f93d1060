"""What `envwatch doctor` makes of what it measures, and how it prints that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.builders import NOW, beating, environment

from envwatch.cli.doctor import judgements, report
from envwatch.cli.doctor.checks import Check, findings_of
from envwatch.cli.doctor.finding import CheckStatus, Finding, failure, ok, skipped, warning
from envwatch.cli.doctor.surroundings import TerminalFacts, TmuxFacts, tmux_facts, write_problem
from envwatch.config.credentials import Credentials
from envwatch.model import limits
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.text import cells, clean
from envwatch.sources.letta.probe import Connected, Exchange, TlsHandshake
from envwatch.storage.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
WALL = WallMs(NOW)
MS = timedelta(milliseconds=1)
TERMINAL = {"term": "xterm-256color", "columns": 80, "lines": 24, "encoding": "utf-8", "colours": "256 colours"}


def of_terminal(**changes: Any) -> Finding:
    return judgements.of_terminal(TerminalFacts(**{**TERMINAL, **changes}))


def exchange(**changes: Any) -> Exchange:
    return Exchange(**{"status": 200, "took": 12 * MS, "offset": None, "environments": beating(3), **changes})


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
def test_a_terminal_is_judged_by_what_the_dashboard_needs(
    changes: dict[str, Any], status: CheckStatus, said: str
) -> None:
    finding = of_terminal(**changes)
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
def test_tmux_needs_one_of_two_settings_to_pass_a_copy_on(
    set_clipboard: str, passthrough: str, status: CheckStatus
) -> None:
    finding = judgements.of_tmux(TmuxFacts(set_clipboard, passthrough))
    assert finding.status is status
    assert ("set-clipboard on" in finding.fix) == (status is CheckStatus.WARNING)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_tmux_itself_is_asked_for_its_settings(tmp_path: Path) -> None:
    server = tmp_path / "tmux"
    tmux = ("tmux", "-S", str(server), "-f", "/dev/null")
    subprocess.run([*tmux, "new-session", "-d", "sleep", "60"], check=True, env={"PATH": os.environ["PATH"]})
    environ = {"PATH": os.environ["PATH"], "TMUX": f"{server},1,0"}
    try:
        for value in ("off", "on", "external"):
            subprocess.run([*tmux, "set-option", "-s", "set-clipboard", value], check=True)
            assert tmux_facts(environ).set_clipboard == value
        assert tmux_facts(environ).allow_passthrough in {"off", ""}  # the latter before tmux 3.3
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    with pytest.raises(OSError, match="tmux does not give its settings"):
        tmux_facts(environ)
    with pytest.raises(OSError, match="no program tmux"):
        tmux_facts(environ | {"PATH": str(tmp_path)})


@pytest.mark.parametrize(("offset_ms", "status"), [(0, "ok"), (4_999, "ok"), (5_000, "warning"), (-5_000, "warning")])
def test_a_clock_is_wrong_from_the_offset_from_which_the_screen_warns(offset_ms: float, status: str) -> None:
    finding = judgements.of_clock([OffsetBounds(offset_ms - 500, offset_ms + 500)])
    assert finding.status == status
    assert finding.data["offset_s"] == offset_ms / 1000


@pytest.mark.parametrize(("offset_s", "said"), [(600, "10m behind the server"), (-600, "10m ahead of the server")])
def test_a_clock_that_is_ten_minutes_off_says_so_with_its_bounds(offset_s: int, said: str) -> None:
    first, second = (offset_s - 3, offset_s + 2), (offset_s - 2, offset_s + 3)
    finding = judgements.of_clock([OffsetBounds(low * 1000, high * 1000) for low, high in (first, second)])
    assert finding.status is CheckStatus.WARNING
    assert said in finding.summary
    assert (finding.data["low_s"], finding.data["high_s"]) == (offset_s - 2, offset_s + 2)
    assert f"{offset_s - 2:+.1f} to {offset_s + 2:+.1f} s" in finding.summary


def test_responses_without_a_date_leave_the_clock_unknown() -> None:
    assert judgements.of_clock([]).status is CheckStatus.WARNING


@pytest.mark.parametrize(("moved_ms", "is_amiss"), [(999, False), (1_000, True)])
def test_a_server_that_changes_first_seen_at_is_named(moved_ms: int, *, is_amiss: bool) -> None:
    """Two replicas may round one instant differently."""
    rows = [environment("env-1"), environment("env-2")]
    moved = [environment("env-1"), environment("env-2", firstSeenAt=rows[1].first_seen_at + moved_ms)]
    finding = judgements.of_listing(exchange(environments=rows), exchange(environments=moved))
    assert (finding.status is CheckStatus.WARNING) is is_amiss
    assert ("1 row changed firstSeenAt or the device between two requests" in finding.summary) is is_amiss


def test_a_page_is_slow_from_two_seconds() -> None:
    fast, slow = exchange(took=limits.SLOW_PAGE - MS), exchange(took=limits.SLOW_PAGE)
    assert judgements.of_listing(fast).status is CheckStatus.OK
    assert judgements.of_listing(slow).status is CheckStatus.WARNING
    assert judgements.of_listing(slow).data["took_ms"] == 2000


def test_a_page_that_is_no_listing_keeps_status_and_latency() -> None:
    refused = SourceError(Cause.UNAUTHORIZED, clean("refused"))
    finding = judgements.of_listing(exchange(status=401, failure=refused))
    assert (finding.status, finding.data["status"], finding.data["took_ms"]) == (CheckStatus.FAILURE, 401, 12)
    assert "app.letta.com/api-keys" in finding.fix


@pytest.mark.parametrize("cause", Cause)
def test_every_failure_of_a_request_has_a_fix(cause: Cause) -> None:
    finding = judgements.of_failure(SourceError(cause, clean("it broke")))
    assert (finding.status, finding.summary, finding.data) == (CheckStatus.FAILURE, "it broke", {"cause": cause})
    assert finding.fix


@pytest.mark.parametrize(
    ("status", "result"), [(200, "ok"), (404, "ok"), (301, "failure"), (401, "failure"), (500, "failure")]
)
def test_health_may_be_missing_but_not_bad(status: int, result: str) -> None:
    assert judgements.of_health(exchange(status=status)).status == result


def test_a_certificate_that_ends_within_a_week_is_reported() -> None:
    week = limits.CERTIFICATE_WARN_FROM / MS

    def status(left_ms: float) -> CheckStatus:
        return judgements.of_tls(TlsHandshake(clean("TLSv1.3"), WallMs(WALL + left_ms)), WALL).status

    assert (status(week), status(week - 1), status(-1)) == (CheckStatus.OK, CheckStatus.WARNING, CheckStatus.WARNING)
    assert judgements.of_tls(TlsHandshake(clean("TLSv1.3"), None), WALL).status is CheckStatus.OK


def test_addresses_that_take_no_connection_are_named() -> None:
    took = Connected(clean("192.0.2.7"), 5 * MS, (clean("2001:db8::1"),))
    finding = judgements.of_connection(took, 443)
    assert finding.status is CheckStatus.WARNING
    assert "but not 2001:db8::1" in finding.summary
    assert judgements.of_connection(Connected(clean("192.0.2.7"), 5 * MS, ()), 443).status is CheckStatus.OK


@pytest.mark.parametrize(
    ("mode", "status"), [(None, "ok"), (0o100600, "ok"), (0o100640, "warning"), (0o100604, "warning")]
)
def test_the_login_of_another_program_should_be_private_too(mode: int | None, status: str) -> None:
    path = None if mode is None else Path("/home/ana/.letta/settings.json")
    credentials = Credentials(
        key=SecretStr(KEY), base_url="https://x", origin="here", file=path, expires_at_ms=WALL + 7_200_000
    )
    finding = judgements.of_key(credentials, mode, WALL)
    assert finding.status == status
    assert "expires in 2h" in finding.summary
    assert finding.data["mode"] == (None if mode is None else f"0{mode & 0o777:o}")
    assert ("chmod 600" in finding.fix) == (status == "warning")


def test_a_state_folder_that_cannot_be_written_is_a_failure_and_a_damaged_file_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert write_problem(tmp_path) is None
    assert write_problem(tmp_path / "new" / "folder") is None
    assert list(tmp_path.iterdir()) == [file]
    for folder in (file, file / "folder"):
        finding = judgements.of_state(folder, write_problem(folder), [])
        assert (finding.status, finding.summary) == (
            CheckStatus.FAILURE,
            f"{folder} cannot be written: Not a directory",
        )
    assert judgements.of_state(tmp_path, None, []).status is CheckStatus.OK
    damaged = judgements.of_state(tmp_path, None, [tmp_path / "state.json"])
    assert (damaged.status, "state.json is damaged" in damaged.summary) == (CheckStatus.WARNING, True)


def test_mistakes_in_the_configuration_are_counted_and_the_first_is_shown() -> None:
    finding = judgements.of_config_mistakes(["c.toml:3: one", "c.toml:7: two"])
    assert (finding.status, finding.summary) == (CheckStatus.FAILURE, "c.toml:3: one (and 1 more)")
    assert finding.data["mistakes"] == ["c.toml:3: one", "c.toml:7: two"]


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


@pytest.mark.parametrize("error", [TimeoutError(), SourceError(Cause.TIMEOUT, clean("too slow"))])
async def test_a_check_that_takes_too_long_has_failed_and_the_others_run(error: Exception) -> None:
    async def hang(_: None) -> Finding:
        raise error

    findings = await run(Check("a", hang), Check("b", returns(ok("runs"))))
    assert [finding.status for finding in findings.values()] == [CheckStatus.FAILURE, CheckStatus.OK]
    assert findings["a"].fix


# Text and JSON.


def results(*findings: Finding, redact: Callable[[str], str] = str) -> list[report.Result]:
    return [report.Result(f"check{number}", None, finding, redact) for number, finding in enumerate(findings)]


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
    assert report.verdict_of(results(*findings)) == [verdict]
    assert " ".join(report.verdict_of(results(*findings), 30)) == verdict
    assert max(map(len, report.verdict_of(results(*findings), 30))) <= 30


@given(
    st.sampled_from([ok, skipped, warning, failure]), st.text(max_size=300), st.text(max_size=300), st.integers(20, 120)
)
def test_lines_fit_the_terminal_and_hold_no_control_characters(
    make: Callable[..., Finding], summary: str, fix: str, width: int
) -> None:
    finding = make(summary) if make in {ok, skipped} else make(summary, fix)
    (result,) = results(finding)
    lines = report.lines_of(result, width)
    assert all(line.isprintable() and cells(line) <= max(width, 49) for line in lines)
    assert "".join("".join(lines)[19:].split()).startswith("".join(result.summary.split())[:20])
    document = json.loads(report.json_of([result]))
    assert [entry["status"] for entry in document] == [finding.status]


PIECES = (*"aä\x1b\u202e\ufe0f ", KEY[:8], KEY[20:30], KEY, "\ufe0f".join(KEY))


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_no_piece_of_a_key_is_in_any_output_whatever_a_check_says(text: str) -> None:
    finding = failure(text, text, one=text, many=[text, {text: text}], number=3)
    (result,) = results(finding, redact=Redactor(KEY))
    pieces = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
    for output in ("\n".join(report.lines_of(result, None)), report.json_of([result])):
        assert [piece for piece in pieces if piece in output] == []
    assert json.loads(report.json_of([result]))[0]["data"]["number"] == 3
