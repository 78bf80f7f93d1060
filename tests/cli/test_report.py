"""`envwatch report`: acknowledgements, left out records, zones, damaged recordings; the transcripts have the text."""

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

from envwatch.history.past import About
from envwatch.history.recording import RecordingWriter
from envwatch.history.stored import Retention, history_folder
from envwatch.history.writer import FolderWriter
from envwatch.model.acks import Ack
from envwatch.model.text import clean
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, merge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.in_process import Envwatch

    from envwatch.model.outcome import Listed

CONFIG = """
[profiles.work]
base_url = "https://work.example"
[profiles.home]
base_url = "https://home.example"
history = false
"""


def an_outage(now: float, name: str = "env-2") -> Iterator[Listed]:
    """Yield 15 minutes in which one of three rows is lost after ten minutes."""
    for at in range(int(now) - 900_000, int(now) + 1, 5_000):
        rows = beating(3, at)
        if at > now - 300_000:
            gone = next(row for row in rows if row.id == name)
            rows[rows.index(gone)] = beating(3, at, connectionId=None, podId=None)[rows.index(gone)]
        yield listed(rows, at)


def remember(envwatch: Envwatch, host: str = "work.example", profile: str = "work") -> float:
    now = time.time() * 1000
    writer = FolderWriter(history_folder(envwatch.home / "envwatch", profile, host), Retention())
    record(writer, an_outage(now))
    writer.close()
    return now


def test_acknowledgements_after_the_last_poll_are_reported_of_the_servers_rows_only(envwatch: Envwatch) -> None:
    envwatch.write_config(CONFIG)
    now = remember(envwatch)
    path, command = envwatch.home / "envwatch" / "acknowledged.json", ("report", "--profile", "work", "--since", "10m")
    for server, is_known in (("other.example", False), ("work.example", True)):
        merge(path, ACKNOWLEDGEMENTS, {(clean(server), clean("env-2")): Ack(now + 1_000, clean("Ana looks into it"))})
        assert ("Ana looks into it" in envwatch(*command).out) is is_known
    out = envwatch(*command, "--until", "1s").out
    assert "\n## Still down: 1\n" in out
    assert "Ana" not in out, "at that time it was not acknowledged"


def test_left_out_records_are_named_with_the_profile_if_there_are_several(envwatch: Envwatch) -> None:
    envwatch.write_config(CONFIG)
    for profile in ("work", "home"):
        remember(envwatch, f"{profile}.example", profile)
    day = next((envwatch.home / "envwatch").glob("history/work@*/*.sqlite"))
    damaged = day.with_name(f"{datetime.fromtimestamp(time.time() - 2 * 86_400, UTC):%Y-%m-%d}.sqlite.aside")
    damaged.touch()
    line = f"the history of {damaged.name[:10]} is left out: it was set aside"
    code, out, err = envwatch("report", "--profile", "work", "--since", "3d")
    assert (code, err) == (0, f"envwatch: {line}\n")
    assert " history left out: `it was set aside`\n" in out
    assert envwatch("report", "--profile", "home,work", "--since", "3d")[::2] == (0, f"envwatch: work: {line}\n")


@pytest.mark.parametrize("content", [b"", b"S"])
def test_report_and_record_name_an_empty_day_and_keep_the_rest(envwatch: Envwatch, content: bytes) -> None:
    envwatch.write_config(CONFIG)
    remember(envwatch)
    day = next((envwatch.home / "envwatch").glob("history/work@*/*.sqlite"))
    empty = day.with_name(f"{datetime.fromtimestamp(time.time() - 2 * 86_400, UTC):%Y-%m-%d}.sqlite")
    empty.write_bytes(content)
    line = f"envwatch: the history of {empty.stem} is left out: the file is empty\n"
    code, out, err = envwatch("report", "--profile", "work", "--since", "3d")
    assert (code, err) == (0, line)
    assert " history left out: `the file is empty`\n" in out
    copy = str(envwatch.home / "copy.rec")
    code, _, err = envwatch("record", "--profile", "work", "--since", "3d ago", "-o", copy)
    assert code == 0
    assert err.startswith(f"{line}envwatch: 181 polls, ")


def recording(folder: Path, ends: float) -> Path:
    path = folder / "night.rec"
    about = About(profile=clean("acme"), base_url=clean("https://acme.example/v1"), version=clean("1"))
    history = recorded(an_outage(ends))
    with closing(RecordingWriter(path, about)) as writer:
        for poll in history.polls(*ALWAYS):
            writer.write(history.moment(poll), poll.result, history.events(poll.at, poll.at))
    return path


def test_the_times_of_a_report_are_of_the_configured_zone(envwatch: Envwatch) -> None:
    path = recording(envwatch.home, datetime(2026, 1, 2, 6, 0, tzinfo=UTC).timestamp() * 1000)
    zone = {"ENVWATCH_TIMEZONE": "Asia/Kathmandu"}
    out = envwatch("report", str(path), **zone).out
    assert "\nFri 02 Jan 2026 11:30 to 11:45 (15m), times in UTC+05:45. " in out
    out = envwatch("report", str(path), "-o", "json", "--since", "11:31", "--until", "2026-01-02 11:44", **zone).out
    document = json.loads(out)
    assert (document["since"], document["until"]) == ("2026-01-02T05:46:00.000Z", "2026-01-02T05:59:00.000Z")


def test_a_recording_without_its_end_is_reported_and_another_file_is_refused(envwatch: Envwatch) -> None:
    path = recording(envwatch.home, datetime(2026, 1, 2, 6, 0, tzinfo=UTC).timestamp() * 1000)
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = envwatch("report", str(path))
    assert (code, err) == (0, f"envwatch: the end of {path} is missing\n")
    assert out.startswith("# envwatch: `acme` on `acme.example`\n")
    path.write_text("nothing of ours")
    ended = envwatch("report", str(path))
    assert (ended.code, ended.line) == (2, f"cannot read {path}: it is no recording of envwatch")
