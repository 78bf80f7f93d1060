"""Moments of any values, including values that no fleet has today, come back exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment
from support.exact import exact

from envwatch.fleet.anomalies import Anomaly, AnomalyFinding, QuarantinedListing, StallDetector
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.plausibility import LastHeartbeat, SkewCheck
from envwatch.fleet.presence import GONE, LATE, ONLINE
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.tracking import ChangeTag, RecentChange, TrackedEnvironment
from envwatch.history.encoding.frames import FrameEncoder, MomentBuilder
from envwatch.history.past import Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import Clocks, OffsetBounds, ServerClock
from envwatch.model.environment import Environment
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Failed, Snapshot
from envwatch.model.text import SafeText, clean

_ROW = environment()
_INSTANTS: Any = st.sampled_from(
    [0, 0.0, -0.0, int(NOW), NOW, NOW + 30_000, int(NOW) + 30_000, NOW + 29_999.0625, NOW + 0.1, float("-inf"), 1e300]
)
_TEXTS: Any = st.sampled_from([clean(""), clean("a"), clean("ключ")])
_IDS = st.frozensets(_TEXTS)
_MEMBERS = st.sampled_from([{}, {"os": "linux"}, {"os": "linux", "n": 1}, {"n": 1.0, "os": "linux"}, _ROW.metadata])
_CLOCK = st.sampled_from([0, 0.0, -5, NOW, int(NOW), NOW + 0.1])
_READINGS = st.builds(Clocks, _CLOCK, _CLOCK)
_MAYBE = partial(st.one_of, st.none())

_ROWS = st.builds(
    Environment,
    id=st.just(clean("replaced")),
    name=_TEXTS,
    device_id=_TEXTS,
    organization_id=_TEXTS,
    first_seen_at=_INSTANTS,
    last_seen_at=_INSTANTS,
    connection_id=_MAYBE(_TEXTS),
    connected_at=_MAYBE(_INSTANTS),
    last_heartbeat_at=_MAYBE(_INSTANTS),
    metadata=_MAYBE(_MEMBERS),
    unknown=_MEMBERS,
)
_CHECKS = st.builds(SkewCheck, _INSTANTS, _MAYBE(_INSTANTS), _INSTANTS, _INSTANTS) | st.builds(
    SkewCheck.for_heartbeat, _INSTANTS, st.sampled_from([5, 5.0, 7.25]), _MAYBE(st.just(3.5))
)
_TRACKED = st.builds(
    TrackedEnvironment,
    environment=_ROWS,
    verdict=st.sampled_from([ONLINE, LATE, GONE]),
    since_at=_MAYBE(_INSTANTS),
    last_change=_MAYBE(st.builds(RecentChange, st.sampled_from(ChangeTag), _INSTANTS)),
    skew_check=_CHECKS,
    clock_suspect=st.booleans(),
    has_impossible_time=st.booleans(),
    last_known_heartbeat=_MAYBE(st.builds(LastHeartbeat, _TEXTS, _INSTANTS, _INSTANTS)),
    left_pod_id=_MAYBE(_TEXTS),
    absent=st.integers(0, 3),
    transitions=st.lists(_INSTANTS, max_size=2).map(tuple),
    is_flapping=st.booleans(),
    replaced_by=_MAYBE(_TEXTS),
    replaced_by_name=_MAYBE(_TEXTS),
    twins=_IDS,
    offline_beside=_IDS,
)
_CLOCKS = st.lists(st.sampled_from([OffsetBounds(number - 0.25, number + 1_000) for number in range(4)]), max_size=4)
_FLEETS = st.builds(
    ProfileState,
    limits=st.sampled_from([Limits(), Limits(online_for=timedelta(seconds=5), page_size=7)]),
    profile_name=_TEXTS,
    expect=st.lists(_TEXTS, max_size=2).map(tuple),
    listings=st.integers(0, 3),
    began_at=_MAYBE(_INSTANTS),
    listed=_MAYBE(_READINGS),
    elapsed_ms=_INSTANTS,
    newest=_MAYBE(_TEXTS),
    clock=st.builds(ServerClock, _CLOCKS.map(tuple)),
    date_error=_MAYBE(_INSTANTS),
    interval=st.timedeltas(timedelta(), timedelta(days=1)),
    failure=_MAYBE(
        st.builds(
            Failed,
            cause=st.sampled_from(Cause),
            message=_TEXTS,
            started=_READINGS,
            ended=_READINGS,
            interval=st.timedeltas(),
            retry_after=_MAYBE(st.timedeltas()),
            pages_read=st.integers(0, 3),
            page=_MAYBE(st.integers(0, 3)),
        )
    ),
    failures=st.integers(0, 3),
    quarantine=_MAYBE(
        st.builds(
            QuarantinedListing, st.builds(AnomalyFinding, st.sampled_from(Anomaly), _TEXTS), _INSTANTS, _IDS, _IDS
        )
    ),
    stall_detector=st.builds(StallDetector, _INSTANTS, st.booleans(), _MAYBE(_INSTANTS)),
    snapshot=_MAYBE(
        st.builds(
            Snapshot,
            pages=st.just(()),
            rows=st.just({}),
            clock=_CLOCKS.map(tuple),
            rejected=st.integers(0, 3),
            rejected_ids=_IDS,
            confirmed_absent=_IDS,
            in_doubt=_IDS,
            requests=st.integers(0, 3),
            received=st.integers(0, 3),
        )
    ),
    unseen_since=_MAYBE(_READINGS),
    last_up=_MAYBE(_READINGS),
    has_moved_identity=st.booleans(),
    periods=st.dictionaries(st.sampled_from(Kind), _INSTANTS, max_size=2).map(MappingProxyType),
)
_MOMENTS = st.builds(
    Moment,
    _READINGS,
    _FLEETS,
    st.dictionaries(_TEXTS, st.builds(Ack, _INSTANTS, _TEXTS, _MAYBE(_INSTANTS)), max_size=2).map(MappingProxyType),
)


@settings(max_examples=examples(400))
@given(
    moments=st.lists(_MOMENTS, min_size=2, max_size=2),
    rows=st.lists(_TRACKED, min_size=2, max_size=2),
    is_beat=st.booleans(),
)
def test_one_moment_and_the_next(moments: list[Moment], rows: list[TrackedEnvironment], *, is_beat: bool) -> None:
    """One common row changes in every field, or only with the heartbeat."""
    before, after = rows
    if is_beat:
        changes = {name: getattr(after.environment, name) for name in ("last_heartbeat_at", "last_seen_at")}
        after = replace(before, environment=replace(before.environment, **changes), skew_check=after.skew_check)
    encoder, decoder = FrameEncoder(), MomentBuilder(NO_PROFILE)
    for moment, tracked in zip(moments, (before, after), strict=True):
        whole = replace(moment, profile_state=replace(moment.profile_state, environments=_as_listed(tracked)))
        decoder.apply(encoder.encode(whole))
        assert exact(decoder.moment()) == exact(whole)


def _as_listed(tracked: TrackedEnvironment) -> dict[SafeText, TrackedEnvironment]:
    ids = ("env-0", "env-1") if tracked.absent else ("env-1", "env-2", "env-3")
    return {clean(id_): replace(tracked, environment=replace(tracked.environment, id=clean(id_))) for id_ in ids}
