"""The golden files of the published format are read; they are never made again."""

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
NAME = f"version-{FORMAT_VERSION}"


@pytest.fixture(params=["recording", "day"])
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Past]:
    if request.param == "recording":
        with closing(RecordedFile(FOLDER / f"{NAME}.recording")) as recorded:
            yield recorded
        return
    day = gzip.decompress((FOLDER / f"{NAME}.sqlite.gz").read_bytes())
    (tmp_path / "2025-10-09.sqlite").write_bytes(day)
    yield StoredPast(tmp_path)


def test_moments_counts_and_events_are_the_recorded_ones_in_any_order(past: Past) -> None:
    recorded: dict[str, list[Any]] = json.loads((FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))
    held = held_by_past(past)
    for part, expected in recorded.items():
        assert held[part] == expected
    polls = past.polls(*ALWAYS)
    assert [past.moment(poll) for poll in reversed(polls)] == [*map(past.moment, polls)][::-1]
    if isinstance(past, RecordedFile):
        assert past.about == ABOUT


def test_much_has_happened_in_them() -> None:
    recorded = (FOLDER / f"{NAME}.json").read_text(encoding="utf-8")
    moments = " ".join(json.loads(recorded)["moments"])
    for word in ("late", "gone", "blind", "stale", "held", "key refused", "1 acks", "timeout"):
        assert word in moments, word
    kinds = {event[0] for event in json.loads(recorded)["events"]}
    assert {"while blind", "flapping", "slept", "blind", "hold ended", "key accepted", "restarted"} <= kinds
    assert re.search(r"\b2 failures", moments)
    alerts = " ".join(json.loads(recorded)["alerts"])
    assert re.search(r"3 silences, [1-9] waiting, [1-9] open", alerts)
    rules = {rule for _, _, rule, *_ in json.loads(recorded)["last alerts"][0]}
    assert rules >= {"expect", "override", "sandbox", "uptime"}
