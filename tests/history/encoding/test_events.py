"""An event survives encoding unchanged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment
from support.exact import exact
from support.recording import decode_event, encode_event

from envwatch.fleet.events import NO_PROFILE, EnvironmentState, Event, Kind
from envwatch.fleet.presence import GONE, MISSING, ONLINE, UNTIMED
from envwatch.history.encoding.events import EventDecoder, EventEncoder
from envwatch.history.past import HistoryError
from envwatch.model.clock import ServerMs
from envwatch.model.text import clean, composed

_TEXT = st.sampled_from([clean("online"), clean(""), clean("ключ 漢字"), composed("x" * 1_200)])
_AT = st.sampled_from([NOW, NOW + 0.1, int(NOW), ServerMs(float("-inf"))]).map(ServerMs)
_STATE = st.builds(
    EnvironmentState,
    environment=st.sampled_from(
        [
            environment(),
            environment("env-2", lastHeartbeat=None, metadata=None, later={"a": [1, 1.0, True]}),
            environment("env-3", lastHeartbeat=int(NOW), connectionId=None, podId=None),
        ]
    ),
    verdict=st.sampled_from([ONLINE, GONE, MISSING, UNTIMED]),
    is_flapping=st.booleans(),
    clock_suspect=st.booleans(),
    left_pod_id=st.none() | _TEXT,
)


def _events(members: st.SearchStrategy[tuple[Event, ...]]) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        kind=st.sampled_from(Kind),
        at=_AT,
        profile=st.just(NO_PROFILE),
        id=st.none() | _TEXT,
        name=st.none() | _TEXT,
        field=st.none() | st.just("os"),
        before=st.none() | _TEXT,
        after=st.none() | _TEXT,
        reason=st.none() | _TEXT,
        lasted=st.none() | st.timedeltas(),
        of=st.none() | st.sampled_from(Kind),
        members=members,
        since=st.none() | _AT,
        incident=st.none() | _TEXT,
        then=st.none() | _STATE,
    )


@given(_events(st.lists(_events(st.just(())), max_size=2).map(tuple)))
def test_every_field_of_an_event_and_of_its_members_comes_back(event: Event) -> None:
    assert exact(decode_event(encode_event(event), NO_PROFILE)) == exact(event)


@settings(max_examples=examples(200))
@given(st.lists(_events(st.lists(_events(st.just(())), max_size=2).map(tuple)), max_size=6))
def test_the_events_of_a_file_come_back_in_any_order(events: list[Event]) -> None:
    encoder = EventEncoder()
    written = {number: encoder.encode(event, number) for number, event in enumerate(events)}
    for numbers in (sorted(written), sorted(written, reverse=True)):
        decoder = EventDecoder(NO_PROFILE, written.__getitem__)
        assert [exact(decoder.decode(written[number])) for number in numbers] == [exact(events[n]) for n in numbers]


def test_of_a_row_that_an_earlier_event_has_only_what_changed_is_written() -> None:
    first = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), then=EnvironmentState(environment(), ONLINE))
    metadata = {**(environment().metadata or {}), "gitBranch": "fix/loop"}
    later = EnvironmentState(replace(environment(), metadata=metadata, last_heartbeat_at=ServerMs(NOW + 1)), ONLINE)
    encoder = EventEncoder()
    whole, change = encoder.encode(first, 1), encoder.encode(replace(first, then=later), 2)
    assert len(whole) == len(encode_event(first))
    assert len(change) < len(whole) / 2
    assert EventDecoder(NO_PROFILE, {1: whole}.__getitem__).decode(change).then == later


def test_an_event_whose_row_is_missing_or_not_whole_is_damaged() -> None:
    event = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"), then=EnvironmentState(environment(), ONLINE))
    encoder = EventEncoder()
    _, change = encoder.encode(event, 1), encoder.encode(event, 2)
    with pytest.raises(HistoryError, match="damaged"):
        decode_event(change, NO_PROFILE)
    for other in (change, encode_event(replace(event, then=None)), b"cut"):
        with pytest.raises(HistoryError, match="damaged"):
            EventDecoder(NO_PROFILE, {1: other}.__getitem__).decode(change)


def test_an_event_and_each_of_its_members_take_the_profile_of_their_reader() -> None:
    member = Event(kind=Kind.OFFLINE, at=NOW, id=clean("env-1"))
    group = Event(kind=Kind.TOGETHER, at=NOW, of=Kind.OFFLINE, members=(member,), lasted=timedelta(seconds=1))
    read = decode_event(encode_event(group), clean("prod"))
    assert [event.profile for event in (read, *read.members)] == ["prod", "prod"]


def test_an_event_of_a_usual_row_takes_as_many_bytes_as_its_ids_and_names() -> None:
    state = EnvironmentState(environment(), ONLINE)
    event = Event(kind=Kind.ONLINE, at=NOW, id=clean("env-1"), name=clean("laptop of env-1"), then=state)
    assert len(encode_event(event)) < 300
