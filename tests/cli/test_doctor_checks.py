"""`envwatch doctor`: checks of this machine, hooks and the clock, the order of checks, and printed findings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import termios
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.builders import environment as environment_row
from support.faulty_server import KEY
from support.rights import folder_for_anyone, without_rights

from envwatch.cli.commands.doctor import finding_lines, verdict_of
from envwatch.cli.doctor import (
    Check,
    CheckedMachine,
    CheckedServer,
    Facts,
    Finding,
    Problem,
    check_clock,
    check_hooks,
    check_ping,
    check_state,
    check_terminal,
    check_tmux,
    problem_of,
    run_checks,
    safe,
)
from envwatch.config.settings import Settings, read_settings
from envwatch.deliver.delivery import WHERE_IT_RUNS
from envwatch.letta.probe import Exchange
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.model.outcome import Cause, Failure, SourceError
from envwatch.model.redactor import redactor
from envwatch.model.text import cells, clean
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from envwatch.model.environment import Environment


PIECES = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
WALL = WallMs(NOW)
TERMINAL: dict[str, Any] = {"term": "xterm-256color", "columns": 80, "lines": 24, "encoding": "utf-8"}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("changes", "status", "summary", "fix"),
    [
        ({}, "", "", ""),
        ({"columns": 40, "lines": 8}, "", "", ""),
        ({"columns": 39}, "warning", "39x24 is too small for the dashboard", "40x8"),
        ({"lines": 7}, "warning", "80x7 is too small for the dashboard", "40x8"),
        ({"encoding": "UTF8"}, "", "", ""),
        ({"encoding": "ascii"}, "warning", "ascii is not UTF-8, so ASCII is drawn", "LC_ALL=C.UTF-8"),
        ({"term": "dumb"}, "failure", "TERM is dumb: the dashboard cannot move the cursor", "TERM=xterm-256color"),
        ({"term": ""}, "failure", "TERM is not set: the dashboard cannot move the cursor", "`envwatch list` needs no"),
    ],
)
async def test_a_terminal_is_judged_by_the_dashboard(
    changes: dict[str, Any], status: str, summary: str, fix: str
) -> None:
    term, columns, lines, encoding = (TERMINAL | changes).values()
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (lines, columns))
    facts: Facts = {}
    with open(theirs, "w", encoding=encoding) as stream:  # noqa: ASYNC230, PTH123 - a terminal of this process
        problem = await check_terminal(CheckedMachine({}, {"TERM": term}, streams=(stream,)), facts)
    os.close(ours)
    assert (facts["term"], facts["columns"], facts["lines"]) == (term, columns, lines)
    assert (problem or Problem("", "", ""))[::2] == (summary, status)
    assert fix in (problem.fix if problem else "")


@pytest.mark.parametrize(
    ("set_clipboard", "passthrough", "is_fine"),
    [
        ("on", "", True),
        ("on", "off", True),
        ("external", "on", True),
        ("external", "all", True),
        ("external", "off", False),
        ("off", "", False),
        ("", "", False),
    ],
)
async def test_tmux_needs_one_of_two_settings_to_pass_a_copy_on(
    tmp_path: Path, set_clipboard: str, passthrough: str, *, is_fine: bool
) -> None:
    program = tmp_path / "tmux"
    program.write_text(f"#!/bin/sh\necho '{set_clipboard} {passthrough}'\n")
    program.chmod(0o755)
    problem = await check_tmux(CheckedMachine({}, {"PATH": str(tmp_path), "TMUX": "x"}), {})
    assert (problem is None) is is_fine
    assert problem is None or "set-clipboard on" in problem.fix


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
async def test_tmux_itself_is_asked_for_its_settings(tmp_path: Path) -> None:
    server = tmp_path / "tmux"
    tmux = ("tmux", "-S", str(server), "-f", "/dev/null")
    subprocess.run([*tmux, "new-session", "-d", "sleep", "60"], check=True, env={"PATH": os.environ["PATH"]})  # noqa: ASYNC221
    environ = {"PATH": os.environ["PATH"], "TMUX": f"{server},1,0"}
    facts: Facts = {}
    try:
        for value in ("off", "on", "external"):
            subprocess.run([*tmux, "set-option", "-s", "set-clipboard", value], check=True)  # noqa: ASYNC221
            await check_tmux(CheckedMachine({}, environ), facts)
            assert facts["set_clipboard"] == value
            assert facts["allow_passthrough"] in {"off", ""}  # empty before tmux 3.3
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)  # noqa: ASYNC221
    for path in (environ["PATH"], str(tmp_path / "empty")):
        facts = {}
        assert await check_tmux(CheckedMachine({}, environ | {"PATH": path}), facts) is None
        assert facts == {}


async def test_a_state_folder_is_writable_without_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(parent: Path) -> Problem | None:
        monkeypatch.setenv("XDG_STATE_HOME", str(parent))
        return await check_state(CheckedMachine({}, {}), {})

    file, sound = tmp_path / "envwatch", tmp_path / "sound"
    file.touch()
    for parent in (tmp_path, file):
        problem = await found(parent)
        assert problem is not None
        assert (problem.status, problem.summary) == (
            "failure",
            f"{parent / 'envwatch'} cannot be written: Not a directory",
        )
    assert await found(tmp_path / "new" / "folder") is None
    assert names_in(tmp_path) == [file.name]
    folder = sound / "envwatch"
    (folder / "alerts").mkdir(parents=True)
    assert await found(sound) is None
    assert names_in(folder) == ["alerts"]
    damaged = [folder / "alerts" / "a@h.json", folder / "state.json"]
    for path in damaged:
        path.write_text("[")
    problem = await found(sound)
    assert problem is not None
    assert (problem.status, problem.summary) == ("warning", f"damaged: {damaged[0]}, {damaged[1]}")
    assert problem.fix == "do nothing: envwatch sets the file aside, and begins a new file"
    damaged[0].unlink()
    damaged[0].mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        await found(sound)
    assert caught.value.filename == str(damaged[0]), "the warning names the file"


async def test_a_folder_of_alert_states_without_rights_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_for_anyone() as parent:
        monkeypatch.setenv("XDG_STATE_HOME", str(parent))
        folder = parent / "envwatch"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        for name in ("alerts", "history"):
            (folder / name).mkdir()
        with without_rights(folder / "alerts", folder / "history", may_read=False):
            problem = await check_state(CheckedMachine({}, {}), {})
        assert problem is not None
        assert (problem.status, problem.summary) == (
            "warning",
            f"{folder / 'alerts'} cannot be written: Permission denied",
        )
        assert await check_state(CheckedMachine({}, {}), {}) is None


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (settings,) = read_settings({"config": str(path)}, {})
    return settings


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ('command = ["/nonexistent/page"]', "there is no program /nonexistent/page that can be run"),
        ('url_env = "PAGER_URL"', "PAGER_URL is not set"),
        ('format = "pagerduty"\nkey_env = "PD_KEY"', "PD_KEY is not set"),
        ('url_env = "HTTP_URL"', "the address must start with https://: plain http would show your messages"),
    ],
)
async def test_an_unusable_hook_is_named_with_the_reason(tmp_path: Path, hook: str, problem: str) -> None:
    settings = settings_of(tmp_path, f'[[hooks]]\nname = "pager"\n{hook}\n')
    environ = {"PATH": os.environ["PATH"], "HTTP_URL": "http://example.com/secret-part-of-it"}
    found = await check_hooks(CheckedMachine({}, environ, [settings]), {})
    assert found is not None
    assert found.status == "warning"
    assert found.summary.startswith(f"hook pager: {problem}")
    assert f"{tmp_path}/config.toml:1" in found.summary
    assert found.fix
    assert "secret" not in f"{found}"


async def test_the_fixes_of_several_hooks_are_told_apart_unless_they_are_equal(tmp_path: Path) -> None:
    missing = "there is no program /nonexistent/page that can be run"
    install = "install it, or `chmod +x` it, or correct the path"
    text = '[[hooks]]\ncommand = ["/nonexistent/page"]\n'
    config = f"(see {tmp_path}/config.toml"
    found = await check_hooks(CheckedMachine({}, {}, [settings_of(tmp_path, text * 2)]), {})
    assert found == Problem(f"hook 1: {missing} {config}:1); hook 2: {missing} {config}:3)", install, "warning")
    other = f'{text}[[hooks]]\nurl_env = "PAGER_URL"\n'
    found = await check_hooks(CheckedMachine({}, {}, [settings_of(tmp_path, other)]), {})
    assert found is not None
    assert found.fix == f"hook 1: {install}; hook 2: {WHERE_IT_RUNS}"


async def test_usable_hooks_are_fine(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, '[[hooks]]\ncommand = ["sh"]\n[[hooks]]\nurl = "http://localhost:1/x"\n')
    facts: Facts = {}
    assert await check_hooks(CheckedMachine({}, {"PATH": os.environ["PATH"]}, [settings]), facts) is None
    assert facts == {"hooks": 2}


async def test_a_dead_mans_switch_is_checked_without_a_ping(tmp_path: Path) -> None:
    for text, ping in (('ping_url_env = "PING"\n', "set"), ("", None)):
        facts: Facts = {}
        server = CheckedServer(settings_of(tmp_path, text), {"PING": "https://hc-ping.invalid/x"})
        assert await check_ping(server, facts) is None
        assert facts == {"ping_url": ping}


# The clock, and failed requests.


async def clock_problem(
    *offsets: OffsetBounds | None, rows: Sequence[Environment] = ()
) -> tuple[Problem | None, Facts]:
    exchanges = [Exchange(status=200, took=MS, offset=offset, environments=rows) for offset in offsets]
    subject, facts = CheckedServer(Settings(), {}, lambda: WALL), dict[str, object]()
    subject.health, subject.page = exchanges[0], exchanges[-1]
    return await check_clock(subject, facts), facts


@pytest.mark.parametrize(("offset_ms", "is_fine"), [(0, True), (4_999, True), (5_000, False), (-5_000, False)])
async def test_a_clock_is_wrong_from_the_offset_of_the_screen(offset_ms: float, *, is_fine: bool) -> None:
    problem, facts = await clock_problem(OffsetBounds(offset_ms - 500, offset_ms + 500))
    assert (problem is None) is is_fine
    assert facts["offset_s"] == offset_ms / 1000


@pytest.mark.parametrize(("offset_s", "said"), [(600, "10m behind the server"), (-600, "10m ahead of the server")])
async def test_a_wrong_clock_is_named_with_the_bounds_of_all_responses(offset_s: int, said: str) -> None:
    first, second = (offset_s - 3, offset_s + 2), (offset_s - 2, offset_s + 3)
    problem, facts = await clock_problem(*(OffsetBounds(low * 1000, high * 1000) for low, high in (first, second)))
    assert problem is not None
    assert problem.status == "warning"
    assert said in problem.summary
    assert (facts["low_s"], facts["high_s"]) == (offset_s - 2, offset_s + 2)
    assert f"{offset_s - 2:+.1f} to {offset_s + 2:+.1f} s" in problem.summary


async def test_a_date_against_every_heartbeat_is_a_fault_of_the_servers_clock() -> None:
    for age_ms, said in (
        (10_000, "the server's clock (Date) is 10m ahead of"),
        (600_000, "this machine is 10m behind"),
    ):
        rows = [environment_row(f"env-{number}", lastHeartbeat=WALL - age_ms) for number in range(3)]
        problem, _ = await clock_problem(OffsetBounds(599_500, 600_500), rows=rows)
        assert problem is not None
        assert problem.summary.startswith(said)


async def test_responses_without_a_date_leave_the_clock_unknown() -> None:
    problem, facts = await clock_problem(None)
    assert problem is not None
    assert (problem.status, facts) == ("warning", {})


@pytest.mark.parametrize("cause", Cause)
def test_every_failure_of_a_request_has_a_fix(cause: Cause) -> None:
    problem = problem_of(Failure(cause, clean("it broke"), page=2))
    assert (problem.status, problem.summary) == ("failure", "page 2: it broke")
    assert problem.fix


# The order of checks.


def returns(found: Problem | Exception | None, **facts: object) -> Callable[[None, Facts], Awaitable[Problem | None]]:
    async def examine(_: None, noted: Facts) -> Problem | None:
        noted |= facts
        if isinstance(found, Exception):
            raise found
        return found

    return examine


async def summaries(*checks: Check[None]) -> list[tuple[str, str]]:
    return [(finding["status"], finding["summary"]) async for finding in run_checks(checks, None, {})]


async def test_a_check_without_its_need_is_left_out_and_names_the_failed_check() -> None:
    assert await summaries(
        Check("a", returns(Problem("broken", "mend it"))),
        Check("b", returns(None, x=1), ("a",)),
        Check("c", returns(None, x=1), ("d", "b")),
        Check("d", returns(None, x=1)),
    ) == [
        ("failure", "broken"),
        ("skipped", "not checked, because of a"),
        ("skipped", "not checked, because of a"),
        ("ok", "x 1"),
    ]


async def test_a_warning_and_an_unused_function_keep_no_other_check_from_running() -> None:
    assert await summaries(
        Check("a", returns(Problem("hm", "mend it", "warning"), y=2)),
        Check("b", returns(None, unknown=None, empty=[])),
        Check("c", returns(None, x=["é", 1], y={"at": True}, z="text"), ("a", "b")),
    ) == [("warning", "hm"), ("skipped", "nothing to check"), ("ok", "x é and 1, y (at yes), z text")]


async def test_people_read_measured_values_with_units_and_no_facts_for_programs() -> None:
    measured = returns(None, base_url="x", took_ms=1.5, offset_s=-2, raw=[1])
    assert await summaries(Check("a", measured, unsaid=("raw",))) == [("ok", "base url x, took 1.5 ms, offset -2 s")]


@pytest.mark.parametrize(
    ("error", "status", "summary"),
    [
        (TimeoutError(), "failure", "no result within 5 s"),
        (SourceError(Failure(Cause.TIMEOUT, clean("too slow"))), "failure", "too slow"),
        (PermissionError(13, "Permission denied", "/x"), "warning", "/x cannot be read: Permission denied"),
    ],
)
async def test_a_raising_check_has_a_problem_and_the_others_run(error: Exception, status: str, summary: str) -> None:
    checks = (Check("a", returns(error)), Check("b", returns(None, x=1)))
    first, second = [finding async for finding in run_checks(checks, None, {})]
    assert (first["status"], first["summary"], second["status"]) == (status, summary, "ok")
    assert first["fix"]


# Text and JSON.


def findings(*statuses: str, profile: str | None = None) -> list[Finding]:
    return [
        {"id": f"check{number}", "profile": profile, "status": status, "summary": "s", "fix": None, "data": {}}
        for number, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (findings("ok", "skipped"), "envwatch works here"),
        (findings("ok", "warning"), "envwatch works here, with 1 warning (check1)"),
        (
            findings("failure", "warning"),
            "envwatch does not work here: 1 failure (check0), 1 warning (check1)",
        ),
        (findings("failure", profile="a"), "envwatch does not work here: 1 failure (a: check0)"),
        (
            [*findings("failure"), *({**one, "data": {"needs": "check0"}} for one in findings("skipped", "skipped"))],
            "envwatch does not work here: 1 failure (check0), 2 not checked",
        ),
        (
            [{**one, "id": "rows", "data": {"tally": "3 rows count"}} for one in findings("warning", profile="a")],
            "envwatch works here, with 1 warning (a: rows); a: 3 rows count",
        ),
    ],
)
def test_the_verdict_names_the_problems_and_counts_alerting_rows(found: list[Finding], verdict: str) -> None:
    assert verdict_of(found) == verdict


@given(
    st.sampled_from(["ok", "skipped", "warning", "failure"]),
    st.text(max_size=300),
    st.text(max_size=300),
    st.integers(20, 120),
)
def test_lines_fit_the_terminal_and_hold_no_control_characters(status: str, summary: str, fix: str, width: int) -> None:
    (finding,) = ({**one, "summary": summary, "fix": fix, "profile": summary} for one in findings(status))
    lines = finding_lines(safe(finding), width)
    assert all(line.isprintable() and cells(line) <= max(width, 49) for line in lines)
    assert "".join("".join(lines)[19:].split()).startswith("".join(clean(summary).split())[:20])


TEXTS = (*"aä\x1b\u202e\ufe0f ", KEY[:8], KEY[20:30], KEY, "\ufe0f".join(KEY))


@given(st.lists(st.sampled_from(TEXTS), max_size=20).map("".join))
def test_no_piece_of_a_key_is_in_any_output_whatever_a_check_says(text: str) -> None:
    redactor().learn(KEY)
    (raw,) = ({**one, "summary": text, "fix": text, "profile": text} for one in findings("failure"))
    finding = safe({**raw, "data": {"one": text, "many": [text, {text: text}], "pair": (text, 3)}})
    for output in ("\n".join(finding_lines(finding, None)), json.dumps(finding), verdict_of([finding])):
        assert [piece for piece in PIECES if piece in output] == []
    assert finding["data"]["pair"][1] == 3
