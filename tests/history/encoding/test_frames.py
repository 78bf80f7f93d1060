"""A moment survives encoding unchanged."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, environment, failed, listed, reading, slept, watched
from support.exact import exact
from support.memory_history import recorded
from support.recording import decode_event, encode_event
from support.served_listings import served
from support.tracked_environments import tracked

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.plausibility import SkewCheck
from envwatch.fleet.profile_state import ProfileState
from envwatch.history.encoding.frames import FrameEncoder, MomentBuilder
from envwatch.history.encoding.packing import unpacked
from envwatch.history.past import Moment
from envwatch.model.clock import MonotonicS, ServerMs, WallMs

if TYPE_CHECKING:
    from envwatch.model.outcome import Outcome


def test_a_few_polls_are_rebuilt() -> None:
    rows = beating(20)
    outcomes: list[Outcome] = [
        listed(rows),
        listed([*beating(12, NOW + 5000), environment("env-99", unknownField={"a": [1, 2.0]})], NOW + 5000),
        failed(at=NOW + 10_000),
        slept(NOW + 10_000, NOW + 90_000),
        listed(rows, NOW + 95_000),
    ]
    history = recorded(outcomes)
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    for poll in history.polls(WallMs(0), WallMs(NOW * 2)):
        decoder.apply(encoder.encode(history.moment(poll)))
        assert decoder.moment() == history.moment(poll)
        assert exact(decoder.moment()) == exact(history.moment(poll))
    events = history.events(WallMs(0), WallMs(NOW * 2))
    assert events
    for event in events:
        again = decode_event(encode_event(event), NO_PROFILE)
        assert again == event
        assert exact(again) == exact(event)


def test_what_a_viewer_saw_is_rebuilt_and_needs_nothing_new_in_the_form_of_a_recording() -> None:
    outcomes = [served(listed(beating(20, NOW + at), NOW + at), at / 1000 % 7 + 0.25) for at in range(0, 60_000, 5_000)]
    outcomes[6:6] = [served(listed(beating(20, NOW + 25_000), NOW + 25_000), 4.5, is_repeat=True)] * 2
    history = recorded(outcomes)
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    for poll in history.polls(WallMs(0), WallMs(NOW * 2)):
        frame = encoder.encode(history.moment(poll))
        decoder.apply(frame)
        assert exact(decoder.moment()) == exact(history.moment(poll))
        assert "served" not in str(unpacked(frame.data)[0].plain)


@pytest.mark.parametrize("own", [True, False])
def test_a_skew_check_comes_back_whether_or_not_it_is_that_of_the_new_heartbeat(*, own: bool) -> None:
    check = SkewCheck.for_heartbeat(ServerMs(NOW + 20_000 if own else NOW), MonotonicS(5.5), 1.25)
    rows = [tracked(), tracked(lastHeartbeat=NOW + 20_000, lastSeenAt=NOW + 20_000)]
    rows[1] = replace(rows[1], skew_check=check)
    moments = [Moment(reading(), ProfileState(environments={row.environment.id: row})) for row in rows]
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    frames = [encoder.encode(moment) for moment in moments]
    for frame, moment in zip(frames, moments, strict=True):
        decoder.apply(frame)
        assert exact(decoder.moment()) == exact(moment)
    part = unpacked(frames[-1].data)[0].plain
    assert ("beats" in part, "rows" in part) == (own, not own)


def test_encoding_a_whole_moment_takes_at_most_1500_bytes_a_row() -> None:
    profile_state, _ = watched([listed(beating(1_000))])
    tracemalloc.start()
    try:
        FrameEncoder().encode(Moment(reading(), profile_state))
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()
