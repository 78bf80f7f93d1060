"""`envwatch report` on this machine's history and on a recording."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from support.builders import beating, listed
from support.memory_history import recorded
from support.recording import ALWAYS, record

from envwatch.cli.arguments import StopError, options_in
from envwatch.cli.commands.report import run as run_command
from envwatch.history.past import About
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import Retention, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.storage.state_file import ACKNOWLEDGEMENTS, StateFile
from envwatch.views.report.document import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.model.outcome import Listed

CONFIG = """
[profiles.work]
base_url = "https://work.example"
[profiles.home]
base_url = "https://home.example"
history = false
"""


@pytest.fixture
def machine(empty_home: Path) -> Path:
    (empty_home / "config.toml").write_text(CONFIG)
    return empty_home


def an_outage(now: float, name: str = "env-2") -> Iterator[Listed]:
    """Yield 15 minutes in which one of three rows is lost after ten minutes."""
    for at in range(int(now) - 900_000, int(now) + 1, 5_000):
        rows = beating(3, at)
        if at > now - 300_000:
            gone = next(row for row in rows if row.id == name)
            rows[rows.index(gone)] = beating(3, at, connectionId=None, podId=None)[rows.index(gone)]
        yield listed(rows, at)


def remember(machine: Path, host: str = "work.example", profile: str = "work") -> float:
    now = time.time() * 1000
    writer = FolderWriter(history_folder(machine / "envwatch", profile, host), Retention())
    record(writer, an_outage(now))
    writer.close()
    return now


def run(capfd: pytest.CaptureFixture[str], machine: Path, *arguments: str) -> tuple[int, str, str]:
    code = run_command(options_in(["report", "--config", str(machine / "config.toml"), *arguments]))
    out, err = capfd.readouterr()
    return code, out, err


def refusal(*arguments: str) -> tuple[int, str]:
    with pytest.raises(StopError) as raised:
        run_command(options_in(["report", *arguments]))
    return raised.value.code, str(raised.value)


def test_it_reads_the_history_of_a_profile_without_its_key(machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    remember(machine)
    code, out, err = run(capfd, machine, "--profile", "work", "--since", "10m")
    assert (code, err) == (0, "")
    assert out.startswith("# envwatch: `work` on `work.example`\n")
    assert "\n2 of 3 up, 1 offline, by the listing of " in out
    assert "\n## Still down: 1\n- `laptop of env-2` offline since " in out
    code, out, _ = run(capfd, machine, "--profile", "work", "-o", "json")
    document = json.loads(out)
    (profile,) = document["profiles"]
    assert (code, document["version"], profile["host"]) == (0, VERSION, "work.example")
    assert (profile["fleet"]["up"], [each["id"] for each in profile["down"]]) == (2, ["env-2"])
    since, until = (datetime.fromisoformat(document[name]) for name in ("since", "until"))
    assert (until - since).total_seconds() == pytest.approx(8 * 3600, abs=0.01)
    code, out, _ = run(capfd, machine, "--profile", "work", "--since", "10m", "--filter", "name:env-1")
    assert "\n1 of 1 up, by the listing of " in out
    assert "\nNone: still down, " in out


def test_what_was_acknowledged_after_the_last_poll_is_reported(
    machine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    now = remember(machine)
    acknowledgements = StateFile(ACKNOWLEDGEMENTS, machine / "envwatch" / "acknowledged.json", print)
    acknowledgements.keep({(clean("work.example"), clean("env-2")): Ack(now + 1_000, clean("Ana looks into it"))})
    acknowledgements.close()
    out = run(capfd, machine, "--profile", "work", "--since", "10m")[1]
    assert "Ana looks into it" in out
    out = run(capfd, machine, "--profile", "work", "--since", "10m", "--until", "1s")[1]
    assert "\n## Still down: 1\n" in out
    assert "Ana" not in out, "at that time it was not acknowledged"


@pytest.mark.parametrize(("server", "is_known"), [("work.example", True), ("other.example", False)])
def test_what_was_acknowledged_on_another_server_is_not_reported(
    machine: Path, capfd: pytest.CaptureFixture[str], server: str, *, is_known: bool
) -> None:
    now = remember(machine)
    acknowledgements = StateFile(ACKNOWLEDGEMENTS, machine / "envwatch" / "acknowledged.json", print)
    acknowledgements.keep({(clean(server), clean("env-2")): Ack(now + 1_000, clean("Ana looks into it"))})
    acknowledgements.close()
    out = run(capfd, machine, "--profile", "work", "--since", "10m")[1]
    assert ("Ana looks into it" in out) is is_known


def test_left_out_records_are_named_with_the_profile_if_there_are_several(
    machine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for profile in ("work", "home"):
        remember(machine, f"{profile}.example", profile)
    day = next((machine / "envwatch").glob("history/work@*/*.sqlite"))
    damaged = day.with_name(f"{datetime.fromtimestamp(time.time() - 86_400, UTC):%Y-%m-%d}.sqlite.damaged")
    damaged.touch()
    line = f"the history of {damaged.name[:10]} is left out: it was set aside as damaged"
    code, out, err = run(capfd, machine, "--profile", "work", "--since", "2d")
    assert (code, err) == (0, f"envwatch: {line}\n")
    assert " history left out: `it was set aside as damaged`\n" in out
    assert run(capfd, machine, "--profile", "home,work", "--since", "2d")[::2] == (0, f"envwatch: work: {line}\n")


def recording(machine: Path, ends: float) -> Path:
    path = machine / "night.rec"
    about = About(profile=clean("acme"), base_url=clean("https://acme.example/v1"), version=clean("1"))
    history = recorded(an_outage(ends))
    with closing(RecordingWriter(path, about)) as writer:
        for poll in history.polls(*ALWAYS):
            writer.write(history.moment(poll), poll.result, history.events(poll.at, poll.at))
    return path


def test_a_recording_is_reported_as_of_its_end(machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ends = datetime(2026, 1, 2, 6, 0, tzinfo=UTC).timestamp() * 1000
    path = recording(machine, ends)
    code, out, err = run(capfd, machine, str(path), "-o", "json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["since"], document["until"]) == ("2026-01-02T05:45:00.000Z", "2026-01-02T06:00:00.000Z")
    assert document["profiles"][0]["profile"] == "acme"
    assert document["profiles"][0]["host"] == "acme.example"
    assert [each["id"] for each in document["profiles"][0]["down"]] == ["env-2"]
    _, out, _ = run(capfd, machine, str(path), "-o", "json", "--since", "6m", "--until", "5m")
    assert json.loads(out)["until"] == "2026-01-02T05:55:00.000Z"
    assert not json.loads(out)["profiles"][0]["down"]
    code, line = refusal(str(path), "--since", "2026-01-02T06:00:01Z")
    assert (code, line) == (2, "2026-01-02T06:00:01Z is after the end of the recording, 2026-01-02 06:00:00Z")


def test_the_times_of_a_report_are_of_the_configured_zone(
    machine: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording(machine, datetime(2026, 1, 2, 6, 0, tzinfo=UTC).timestamp() * 1000)
    monkeypatch.setenv("ENVWATCH_TIMEZONE", "Asia/Kathmandu")
    _, out, _ = run(capfd, machine, str(path))
    assert "\nFri 02 Jan 2026 11:30 to 11:45 (15m), times in UTC+05:45. " in out
    _, out, _ = run(capfd, machine, str(path), "-o", "json", "--since", "11:31", "--until", "2026-01-02 11:44")
    document = json.loads(out)
    assert (document["since"], document["until"]) == ("2026-01-02T05:46:00.000Z", "2026-01-02T05:59:00.000Z")
    remember(machine)
    _, out, _ = run(capfd, machine, "--profile", "work", "--since", "10m")
    assert ", times in UTC+05:45. " in out


def test_a_recording_that_is_cut_off_or_none_says_so(machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = recording(machine, datetime(2026, 1, 2, 6, 0, tzinfo=UTC).timestamp() * 1000)
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = run(capfd, machine, str(path))
    assert (code, err) == (0, f"envwatch: the end of {path} is missing\n")
    assert out.startswith("# envwatch: `acme` on `acme.example`\n")
    assert refusal(str(path), "--profile", "work") == (2, "a recording has one profile: leave out --profile")
    path.write_text("nothing of ours")
    assert refusal(str(path)) == (1, f"cannot read {path}: it is no recording of envwatch")
    assert refusal(str(machine / "none")) == (1, f"cannot read {machine / 'none'}: No such file or directory")
