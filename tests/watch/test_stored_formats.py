"""The formats of the state files: files that every later version reads, and what damage costs."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.builders import NOW, reading

from envwatch.alerts.acknowledgements import acks_of
from envwatch.alerts.alert_policy import Word, policy_words
from envwatch.alerts.alert_state import alert_state
from envwatch.alerts.silences import Silence, silences_of
from envwatch.alerts.uptime_record import UptimeRecord, parse_record
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.uptime import Uptime
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.text import clean
from envwatch.stored.entries import content_of_text
from envwatch.views.events.matching import compile_matcher, matcher_or_none
from envwatch.watch.state_file import ACKNOWLEDGEMENTS, ALERT_STATE, SILENCES, UPTIME, WORDS, StateFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

GOLDEN: Final = Path(__file__).parent / "golden"
FORMATS: Final[Mapping[str, StateFormat]] = {
    "acknowledged": ACKNOWLEDGEMENTS,
    "alerts": ALERT_STATE,
    "alerts-by-hand": WORDS,
    "silences": SILENCES,
    "uptime": UPTIME,
}

KEYS: Final = [(clean("api.letta.com"), clean("env-1")), (clean("127.0.0.1:8283"), clean("env-2"))]
UUID: Final = clean("6f1f1f7e-8f2e-4d0e-9c1a-0a7f4c1d2e3b")
ACKS: Final = {
    KEYS[0]: Ack(
        at=NOW,
        note=clean("disk swap"),
        sign_at=NOW - 60_000,
        by=clean("ann"),
        until=NOW + 3_600_000,
        uuid=UUID,
        address=clean("10.0.0.7"),
        ended_by=clean("bob"),
    ),
    KEYS[1]: Ack(NOW + 1.5),
}
WORDS_BY_HAND: Final = {
    KEYS[0]: Word(is_always=True, at=WallMs(NOW), by=clean("ann")),
    KEYS[1]: Word(is_always=False, at=WallMs(NOW), by=clean("")),
}
TERMS: Final[Mapping[str, Any]] = {
    "at": WallMs(NOW),
    "until": WallMs(NOW + 7_200_000),
    "note": clean("move"),
    "by": clean("ann"),
}
SILENCES_BY_ID: Final = {
    each.id: each
    for each in (
        Silence(clean("3f2a9c1e"), matcher=compile_matcher("name:web-*"), **TERMS),
        Silence(clean("5d77b0d4"), environments=frozenset(KEYS), **TERMS),
        Silence(clean("9e00aa12"), ends=clean("0123456789abcdef"), **TERMS),
    )
}
UPTIMES: Final = UptimeRecord(
    watched_ms=600_000_000,
    rows={
        clean("env-1"): Uptime(300_000_000, 400_000_000, 600_000_000, is_up=True),
        clean("env-2"): Uptime(1_000, 2_000, 590_000_000, is_up=False, is_first=True),
        clean("env-3"): Uptime(0, 0, 600_000_000, is_up=None),
    },
    has_begun=True,
)


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


def content_in(name: str, text: str) -> dict[str, Any]:
    return content_of_text(text, FORMATS[name].parts).content


@pytest.mark.parametrize("name", FORMATS)
def test_each_file_has_a_line_for_each_entry_and_nothing_unreadable(name: str) -> None:
    """The values of `alerts.json` are tested with the hooks, in `test_hooks.py`."""
    state_format = FORMATS[name]
    read = state_format.read(GOLDEN / f"{name}.json")
    assert state_format.loss(read) is None
    assert state_format.text(read.content) == golden(name)


def test_files_of_this_version_read_the_same_in_every_later_version() -> None:
    assert acks_of(content_in("acknowledged", golden("acknowledged"))) == ACKS
    assert policy_words(content_in("alerts-by-hand", golden("alerts-by-hand"))) == WORDS_BY_HAND
    assert silences_of(content_in("silences", golden("silences")), matcher_or_none) == SILENCES_BY_ID
    assert parse_record(content_in("uptime", golden("uptime"))) == UPTIMES


def entries(content: Mapping[str, Any], parts: frozenset[str]) -> dict[str, Any]:
    """Return each entry by its place."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name in parts:
            found |= {f"{name} {entry}": each for entry, each in value.items()}
        else:
            found[name] = value
    return found


def entries_of_lines(name: str, text: str) -> list[dict[str, Any]]:
    """Return the entries of each line."""
    return [entries(content_in(name, f"{line}\n{{}}\n"), FORMATS[name].parts) for line in text.splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_costs_the_entries_behind_the_cut_and_is_named(name: str) -> None:
    text, state_format = golden(name), FORMATS[name]
    lines = entries_of_lines(name, text)
    for length in range(len(text) - 1):
        read = content_of_text(text[:length], state_format.parts)
        whole = text[: length + 1].count("\n")
        expected = {place: each for line in lines[:whole] for place, each in line.items()}
        assert entries(read.content, state_format.parts) == expected, length
        assert state_format.loss(read) is not None, length


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_byte_costs_no_entry_of_another_line(name: str) -> None:
    """Bytes of a file's text, in which a flipped bit may also end a line, or join two lines."""
    data, state_format, random = golden(name).encode(), FORMATS[name], Random(57)
    lines = entries_of_lines(name, data.decode())
    for _ in range(2_000):
        place = random.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << random.randrange(8)
        read = content_of_text(damaged.decode(errors="replace"), state_format.parts)
        found = entries(read.content, state_format.parts)
        hit = data[:place].count(b"\n")
        spared = [*lines[:hit], *lines[hit + 1 :]]
        for line in spared:
            assert line.items() <= found.items(), (place, damaged[place])
        state_format.loss(read)  # nothing raises


def test_a_damaged_end_of_a_line_costs_neither_line() -> None:
    read = content_of_text('{"a": 1}x{"b": 2}\n{"c": 3}{"d": 4}\n{}\n')
    assert read == ({"a": 1, "b": 2, "c": 3, "d": 4}, ("line 1", "line 2"))


def test_a_later_line_wins_and_parts_are_joined() -> None:
    text = '{"a": {"x": 1}}\n{"a": {"y": 2}}\n{"rows": {"x": 1}}\n{"rows": {"y": 2}}\n{"rows": 5}\n{}\n'
    assert content_of_text(text, {"rows"}) == ({"a": {"y": 2}, "rows": {"x": 1, "y": 2}}, ("line 5",))


def test_of_many_damaged_entries_the_first_five_are_named() -> None:
    content = {f"env-{number}": {"at": "x"} for number in range(7)}
    read = content_of_text(ACKNOWLEDGEMENTS.text(content))
    named = "env-0, env-1, env-2, env-3, env-4 and 2 more"
    assert ACKNOWLEDGEMENTS.loss(read) == f"forgot in part which machines are acknowledged: cannot read {named}"


@pytest.mark.parametrize("lost", ["at", "until"])
def test_a_silence_without_its_times_is_named_and_not_an_ended_silence(lost: str) -> None:
    content = content_in("silences", golden("silences"))
    del content["3f2a9c1e"][lost]
    read = content_of_text(SILENCES.text(content))
    assert SILENCES.loss(read) == "forgot in part which machines are silenced: cannot read 3f2a9c1e"
    assert silences_of(read.content, matcher_or_none).keys() == SILENCES_BY_ID.keys() - {"3f2a9c1e"}


def test_a_row_of_the_alert_file_is_as_before() -> None:
    state = alert_state(content_in("alerts", golden("alerts")), NO_PROFILE, reading(NOW + 120_000))
    assert state is not None
    assert {id_: tracked.verdict.is_up for id_, tracked in state.last_run.rows.items()} == {
        "db": False,
        "nas": True,
        "other": True,
        "web": False,
    }
