"""Every version reads the golden files of earlier format versions; golden files are never made again."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import environment, listed, reading
from support.golden_history import ABOUT, ALWAYS, held_by_past

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.history.encoding.frames import FORMAT_VERSION
from envwatch.history.past import Moment
from envwatch.history.stored import RecordedFile, Retention, StoredPast
from envwatch.history.writer import FolderWriter
from envwatch.model.limits import Limits
from envwatch.model.outcome import PollResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.history.past import Past

FOLDER = Path(__file__).parent / "golden"
VERSIONS = [f"version-{version}" for version in range(1, FORMAT_VERSION + 1)]


@pytest.fixture(params=["recording", "day"])
def past(version: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Past]:
    if request.param == "recording":
        with closing(RecordedFile(FOLDER / f"{version}.recording")) as recorded:
            yield recorded
        return
    day = gzip.decompress((FOLDER / f"{version}.sqlite.gz").read_bytes())
    (tmp_path / "2025-10-09.sqlite").write_bytes(day)
    yield StoredPast(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_moments_counts_and_events_are_the_recorded_ones_in_any_order(version: str, past: Past) -> None:
    recorded: dict[str, list[Any]] = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
    held = held_by_past(past)
    for part, expected in recorded.items():
        assert held[part] == expected
    polls = past.polls(*ALWAYS)
    assert [past.moment(poll) for poll in reversed(polls)] == [*map(past.moment, polls)][::-1]
    if isinstance(past, RecordedFile):
        assert past.about == ABOUT


def test_a_day_of_version_1_goes_on_in_the_present_version(tmp_path: Path) -> None:
    """An earlier envwatch then refuses the day."""
    path = tmp_path / "2025-10-09.sqlite"
    path.write_bytes(gzip.decompress((FOLDER / "version-1.sqlite.gz").read_bytes()))
    past = StoredPast(tmp_path)
    last = past.polls(*ALWAYS)[-1]
    at = last.at + 5_000
    monitor, _ = Monitor.create({NO_PROFILE: Limits()}).apply(NO_PROFILE, listed([environment()], at), reading(at))
    moment = Moment.of(monitor, NO_PROFILE, reading(at))
    writer = FolderWriter(tmp_path, Retention())
    assert writer.take()
    writer.write(moment, PollResult.LISTED)
    writer.close()
    *_, before, after = past.polls(*ALWAYS)
    assert before == last
    assert past.moment(before).alerts is None
    assert past.moment(after) == moment
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_much_has_happened_in_them() -> None:
    recorded = (FOLDER / f"{VERSIONS[-1]}.json").read_text(encoding="utf-8")
    moments = " ".join(json.loads(recorded)["moments"])
    for word in ("late", "missing", "gone", "blind", "stale", "held", "key refused", "1 acks", "timeout"):
        assert word in moments, word
    kinds = {event[0] for event in json.loads(recorded)["events"]}
    assert {"while blind", "flapping", "slept", "blind", "hold ended", "key accepted", "restarted"} <= kinds
    assert re.search(r"\b2 failures", moments)
    alerts = " ".join(json.loads(recorded)["alerts"])
    assert re.search(r"3 silences, [1-9] waiting, [1-9] open", alerts)
    rules = {rule for _, _, rule, *_ in json.loads(recorded)["last alerts"][0]}
    assert rules >= {"expect", "word", "sandbox", "uptime"}
