"""The log: lines, size, modes; a failing write disturbs nothing else."""

from __future__ import annotations

import logging
import os
import re
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import NOW, beating, failed, listed, reading, served, slept
from support.pty_terminal import Terminal

from envwatch.alerts.monitor import Monitor
from envwatch.files import make_private_folder, open_private
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Listed, Slept
from envwatch.model.redactor import Redactor
from envwatch.model.text import clean, composed
from envwatch.watch.log import LIMIT, PollLog, log_line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.model.outcome import Outcome


def of_250_rows(**changes: Any) -> Listed:
    whole = listed(beating(250), page_size=100)
    snapshot = whole.snapshot._replace(received=28_114, **changes)
    return Listed(snapshot, reading(NOW), reading(NOW + 213), timedelta(seconds=5))


LISTED = "poll: 0.213 s, 3 pages, 28114 bytes, 250 machines"
DRIFTED = Slept(reading(NOW), reading(NOW + 1_000)._replace(wall=WallMs(NOW + 7_500_000)))


@pytest.mark.parametrize(
    ("outcome", "level", "end"),
    [
        (of_250_rows(), logging.INFO, LISTED),
        (of_250_rows(rejected=2), logging.INFO, f"{LISTED}, 2 machines set aside"),
        (
            of_250_rows(rejected=2, rejected_ids=frozenset({clean("env-7")})),
            logging.INFO,
            f"{LISTED}, 2 machines set aside (env-7 and 1 more)",
        ),
        (served(listed(beating(2)), 4.25), logging.INFO, " 2 machines, data of 4.2 s before"),
        (served(listed(beating(2)), 9.0, is_repeat=True), logging.INFO, " 2 machines, the same data of 9.0 s before"),
        (
            replace(failed(Cause.RATE_LIMITED, pages_read=2), retry_after=timedelta(seconds=60)),
            logging.WARNING,
            "poll failed: 0.000 s, 2 pages, rate limited: rate limited, asked to wait 1m",
        ),
        (slept(NOW, NOW + 7_500_000), logging.WARNING, "this machine or process stood still for 2h 5m"),
        (DRIFTED, logging.WARNING, "this machine stood still for 2h 5m, or its clock was set"),
    ],
)
def test_an_outcome_is_one_line_with_its_figures(outcome: Outcome, level: int, end: str) -> None:
    found, line = log_line_of(outcome)
    assert (found, line[-len(end) :]) == (level, end)


def test_the_begin_and_the_end_of_blindness_are_one_line_each(tmp_path: Path) -> None:
    log = tmp_path / "envwatch.log"
    poll_log, monitor = PollLog(log, Redactor()), Monitor.create({clean("home"): Limits()})
    outcomes: list[Listed | Failed] = [listed(beating(1), at=NOW + at) for at in (0, 95_000, 100_000)]
    outcomes[1:1] = [failed(at=NOW + at) for at in (60_000, 60_001, 90_000)]
    for outcome in outcomes:
        monitor, changes = monitor.apply(clean("home"), outcome, outcome.ended)
        poll_log.note_blindness(changes.events)
    poll_log.close()
    assert [line.partition("] ")[2] for line in log.read_text().splitlines()] == [
        "warning home: blind: the last data is 1m old",
        "info home: seeing again: the data before was 1m 35s old",
    ]


def test_each_observed_outcome_is_a_line(tmp_path: Path) -> None:
    outcomes: list[Outcome] = [listed(beating(3)), failed(at=NOW + 5_000), slept(NOW + 6_000, NOW + 90_000)]
    log = tmp_path / "envwatch.log"
    poll_log = PollLog(log, Redactor())
    for outcome in outcomes:
        poll_log.observe(NO_PROFILE, outcome)
    poll_log.close()
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    head = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \[\d+\] "
    assert all(re.match(f"{head}(info|warning) ", line) for line in lines)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_every_file_is_private_under_any_umask(tmp_path: Path) -> None:
    log = tmp_path / "state" / "envwatch" / "envwatch.log"
    poll_log = PollLog(log, Redactor())
    for _ in range(3):
        poll_log.write((logging.INFO, composed("x" * (LIMIT // 2))))
    poll_log.close()
    assert mode(log) == mode(log.with_name("envwatch.log.1")) == 0o600
    assert mode(log.parent) == mode(log.parent.parent) == 0o700


def test_a_log_open_to_others_becomes_private(tmp_path: Path) -> None:
    log = tmp_path / "envwatch.log"
    log.write_text("")
    log.chmod(0o644)
    os.close(open_private(log))
    assert mode(log) == 0o600


def link_to_a_shared_file(folder: Path) -> tuple[Path, Path]:
    """Return a link in place of the log, and the link's target, which others read."""
    shared = folder / "shared.log"
    shared.write_text("before\n")
    shared.chmod(0o644)
    link = folder / "envwatch.log"
    link.symlink_to(shared)
    return link, shared


def test_a_link_in_place_of_a_file_of_envwatchs_choice_is_not_followed(tmp_path: Path) -> None:
    link, shared = link_to_a_shared_file(tmp_path)
    with pytest.raises(OSError, match="It is a link, which is not followed here"):
        open_private(link)
    notices: list[str] = []
    poll_log = PollLog(link, Redactor(), notify=notices.append)
    poll_log.note("a line")
    poll_log.close()
    assert (shared.read_text(), mode(shared)) == ("before\n", 0o644)
    assert notices == [f"no log is kept: It is a link, which is not followed here; --log-file names another ({link})"]


def test_a_link_named_by_the_user_is_followed_and_its_target_keeps_its_mode(tmp_path: Path) -> None:
    link, shared = link_to_a_shared_file(tmp_path)
    notices: list[str] = []
    poll_log = PollLog(link, Redactor(), follows_link=True, notify=notices.append)
    poll_log.note("a line")
    poll_log.close()
    assert shared.read_text().startswith("before\n")
    assert shared.read_text().endswith(" info a line\n")
    assert (mode(shared), notices) == (0o644, [])


def test_a_full_log_behind_a_link_becomes_the_old_one_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "envwatch.log"
    link.symlink_to("elsewhere/log")
    poll_log = PollLog(link, Redactor(), follows_link=True)
    for _ in range(3):
        poll_log.write((logging.INFO, composed("x" * (LIMIT // 2))))
    poll_log.close()
    assert link.is_symlink()
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["log", "log.1"]
    assert mode(link) == mode(tmp_path / "elsewhere" / "log.1") == 0o600


def test_a_log_of_another_user_keeps_its_mode(tmp_path: Path) -> None:
    if os.geteuid():  # only root can give a file away, and others cannot open foreign files
        with pytest.raises(PermissionError):
            open_private(Path("/etc/passwd"), follows_link=True)
        return
    log = tmp_path / "envwatch.log"
    log.write_text("")
    log.chmod(0o644)
    os.chown(log, 1, 1)
    os.close(open_private(log, follows_link=True))
    assert mode(log) == 0o644


def test_an_unwritable_log_is_reported_once(tmp_path: Path) -> None:
    notices: list[str] = []
    poll_log = PollLog(tmp_path, Redactor(), notify=notices.append)
    for _ in range(3):
        poll_log.note("a line")
    poll_log.close()
    assert notices == [f"no log is kept: Is a directory; --log-file names another ({tmp_path})"]


def test_the_dashboard_reports_an_unwritable_log(tmp_path: Path) -> None:
    log = unwritable(tmp_path, "a full disk")
    with Terminal.of_envwatch("demo", "--no-history", "--log-file", str(log), home=tmp_path, columns=160) as terminal:
        terminal.wait_for(rf"no log is kept: No.*; --log-file names another \({log}\)")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_existing_folders_keep_their_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "a" / "b")
    assert (mode(tmp_path), mode(tmp_path / "a")) == (0o755, 0o700)


def test_a_full_file_becomes_the_old_one_and_both_stay_bounded(tmp_path: Path) -> None:
    log = tmp_path / "envwatch.log"
    poll_log = PollLog(log, Redactor())
    for number in range(40):
        poll_log.write((logging.INFO, composed(f"{number} " + "x" * (LIMIT // 10))))
    poll_log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["envwatch.log", "envwatch.log.1"]
    assert all(path.stat().st_size <= LIMIT for path in tmp_path.iterdir())
    assert " 39 x" in log.read_text()


def test_lines_below_the_level_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "envwatch.log"
    poll_log = PollLog(log, Redactor(), least=logging.WARNING)
    poll_log.note("started")
    poll_log.write((logging.WARNING, clean("late")))
    poll_log.close()
    assert log.read_text().endswith(" warning late\n")
    assert log.read_text().count("\n") == 1


def test_nothing_is_written_without_a_path_nor_before_the_first_line(tmp_path: Path) -> None:
    PollLog(tmp_path / "envwatch.log", Redactor()).close()
    poll_log = PollLog(None, Redactor())
    poll_log.note("started")
    poll_log.close()
    assert list(tmp_path.iterdir()) == []


def unwritable(folder: Path, kind: str) -> Path:
    match kind:
        case "a folder":
            return folder
        case "below a file":
            (folder / "file").touch()
            return folder / "file" / "envwatch.log"
        case "a pipe without a reader":
            os.mkfifo(folder / "pipe")
            return folder / "pipe"
        case _:
            return Path("/dev/full")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("a folder", "Is a directory"),
        ("below a file", "Not a directory"),
        ("a pipe without a reader", "No such device or address"),
        ("a full disk", "No space left on device"),
    ],
)
def test_an_unwritable_line_is_dropped_and_a_crash_says_why(tmp_path: Path, kind: str, why: str) -> None:
    log = unwritable(tmp_path, kind)
    poll_log = PollLog(log, Redactor())
    for _ in range(3_000):  # more than the queue's limit
        poll_log.note("a line")
    poll_log.close()
    report = poll_log.screen_report(ValueError("bug"), columns=200, lines=24)
    assert report[-1] == f"It could not be written to {log}: {why}"


def test_hostile_text_stays_one_clean_line(tmp_path: Path) -> None:
    log = tmp_path / "envwatch.log"
    poll_log = PollLog(log, Redactor())
    poll_log.note("one\n2026-01-01 forged \x1b]0;title\x07")
    poll_log.write_crash(ValueError("two\n2026-01-01 forged \x1b[2J"))
    poll_log.close()
    lines = log.read_text().splitlines()
    assert all(re.match(r"\S+ \[\d+\] (info|error) ", line) for line in lines)
    assert "\x1b" not in log.read_text()
    assert "\\x1b]0;title\\x07" in lines[0]
