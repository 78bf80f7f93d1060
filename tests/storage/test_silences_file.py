"""The silences file: concurrent instances lose nothing, and neither damage nor age stops the program."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import key_of

from envwatch.fleet.alerting.silences import Silence, content_of, silence_of_environments, silence_of_query, silences_of
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.storage.state_file import MOST_SILENCES, SILENCES, ChangedFile, merge, silences_in
from envwatch.views.events.matching import matcher_of, matcher_or_none

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)


def made(query: str = "pod:p-7", at: float = 0.0, lasts: timedelta = HOUR) -> Silence:
    return silence_of_query(matcher_of(query), WallMs(at), lasts, clean("disks"), clean("ada"))


def test_what_two_instances_make_stands_in_the_file_and_each_reads_the_other_once(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    reader = ChangedFile(path, partial(silences_in, matcher_of=matcher_or_none))
    assert reader.changed() == {}
    assert reader.changed() is None
    one, other = made(), silence_of_environments([key_of("env-1")], WallMs(1), HOUR, clean(""), clean("bob"))
    merge(path, SILENCES, {one.id: one})
    merge(path, SILENCES, {other.id: other})
    assert reader.changed() == {one.id: one, other.id: other}
    assert reader.changed() is None
    ended = one.ended(WallMs(5), clean("bob"))
    merge(path, SILENCES, {ended.id: ended})
    assert reader.changed() == {one.id: one._replace(until=WallMs(5)), other.id: other}


@pytest.mark.parametrize(("at", "count"), [(25 * 3_600_000 - 1, 2), (25 * 3_600_000, 1)])
def test_a_silence_that_ended_a_day_before_a_new_one_began_is_dropped(tmp_path: Path, at: float, count: int) -> None:
    path, one, new = tmp_path / "silences.json", made(), made("web", at)
    merge(path, SILENCES, {one.id: one})
    merge(path, SILENCES, {new.id: new})
    assert len(silences_in(path, matcher_or_none)) == count


def test_what_is_not_understood_is_not_used_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    strange = {"a": {"query": "newfield:x", "at": 0, "until": 9e12}, "b": 5, "c": {"query": "x", "at": "?", "until": 1}}
    path.write_text(json.dumps(strange))
    assert silences_in(path, matcher_or_none) == {}
    one = made()
    merge(path, SILENCES, {one.id: one})
    assert strange.items() <= json.loads(path.read_text()).items()
    assert silences_in(path, matcher_or_none) == {one.id: one}


def test_a_silence_beyond_the_most_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "silences.json"
    many = {each.id: each for each in (made(f"x{number}") for number in range(MOST_SILENCES))}
    merge(path, SILENCES, many)
    before, more = path.read_bytes(), made("more")
    with pytest.raises(OSError, match="too many silences"):
        merge(path, SILENCES, {more.id: more})
    assert path.read_bytes() == before
    first = next(iter(many.values())).ended(WallMs(1), clean(""))
    merge(path, SILENCES, {first.id: first})
    assert len(silences_in(path, matcher_or_none)) == MOST_SILENCES
    more = made("more", at=1)
    merge(path, SILENCES, {more.id: more})
    assert first.id not in silences_in(path, matcher_or_none)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.none() | st.booleans() | st.floats() | TEXTS | st.lists(TEXTS, max_size=3)
OF_ROWS = silence_of_environments([key_of("env-1")], WallMs(0), HOUR, clean(""), clean(""))
NAMES = sorted({name for each in (made(), OF_ROWS) for name in content_of({each.id: each})[each.id]})
ENTRIES = st.dictionaries(st.sampled_from(NAMES), VALUES) | VALUES


@given(st.dictionaries(TEXTS, ENTRIES, max_size=5))
def test_no_content_is_too_strange_and_what_is_read_is_written_alike(content: dict[str, object]) -> None:
    found = silences_of(content, matcher_or_none)
    assert silences_of(json.loads(json.dumps(content_of(found))), matcher_or_none) == found
