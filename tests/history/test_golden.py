"""Every version reads the golden files of earlier format versions; golden files are never made again."""

from __future__ import annotations

import gzip
import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.golden_history import ABOUT, ALWAYS, held_by_past

from envwatch.history.encoding.frames import FORMAT_VERSION
from envwatch.history.stored import RecordedFile, StoredPast

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
def test_moments_counts_and_events_are_those_that_were_recorded(version: str, past: Past) -> None:
    recorded: dict[str, list[Any]] = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
    held = held_by_past(past)
    for part, expected in recorded.items():
        assert held[part] == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_each_moment_is_found_on_its_own_as_well(version: str, past: Past) -> None:
    del version
    polls = past.polls(*ALWAYS)
    assert [past.moment(poll) for poll in reversed(polls)] == [*map(past.moment, polls)][::-1]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recording_says_what_it_is_of(version: str) -> None:
    with closing(RecordedFile(FOLDER / f"{version}.recording")) as recorded:
        assert recorded.about == ABOUT


def test_much_has_happened_in_them() -> None:
    recorded = (FOLDER / f"{VERSIONS[-1]}.json").read_text(encoding="utf-8")
    moments = " ".join(json.loads(recorded)["moments"])
    for word in ("late", "missing", "gone", "blind", "stale", "held", "key refused", "1 acks", "timeout"):
        assert word in moments, word
    kinds = {event[0] for event in json.loads(recorded)["events"]}
    assert {"while blind", "flapping", "slept", "blind", "hold ended", "key accepted", "restarted"} <= kinds
    assert re.search(r"\b2 failures", moments)
