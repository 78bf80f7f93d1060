"""An environment is (server, id): two profiles of one server share an environment; two servers with one id have two.

Profiles stand side by side, each with a clock, listings and doubts.
"""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, entries_of, environment, failed, listed, reading
from support.policies import soon
from support.tracked_environments import ALL, contexts_at

from envwatch.alerts.acknowledgements import acks_of, losses_of
from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import Silence, silence_of_environments, silences_content, silences_of
from envwatch.fleet.events import Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Fleet, ProfileState, missing_id
from envwatch.history.past import Moment
from envwatch.history.rewound import rewound
from envwatch.model.acks import Ack
from envwatch.model.clock import WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.query.language import parse
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.table_view import View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText


ID, OTHER_ID = clean("env-1"), clean("env-2")
ONE, OTHER = clean("one.example"), clean("other.example:8283/prod")
HOME, WORK, AWAY = clean("home"), clean("work"), clean("away")
SERVERS = {HOME: ONE, WORK: ONE, AWAY: OTHER}
ACK = Ack(NOW, clean("disk"))


def row(id_: SafeText, *, is_up: bool = False) -> Environment:
    return (
        environment(id_) if is_up else environment(id_, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - 60_000)
    )


def monitor_of(servers: Mapping[SafeText, SafeText], acks: Acks | None = None, *rows: Environment) -> Monitor:
    monitor = Monitor.create(dict.fromkeys(servers, Limits()), servers=servers).with_acks(acks or {})
    for profile in servers:
        monitor, _ = monitor.apply(profile, listed(rows or [row(ID)]), reading())
    return monitor


def loud(monitor: Monitor) -> set[SafeText]:
    return {each.profile for each in monitor.fleet.environments if monitor.judge(reading()).is_alerting(each)}


@pytest.mark.parametrize(
    ("key", "still_loud"),
    [
        ((ONE, ID), {AWAY}),
        ((OTHER, ID), {HOME, WORK}),
        ((EMPTY, ID), {HOME, WORK, AWAY}),
        ((clean("third.example"), ID), {HOME, WORK, AWAY}),
        ((ONE, OTHER_ID), {HOME, WORK, AWAY}),
    ],
)
def test_an_acknowledgement_quietens_its_environment_under_every_profile_and_no_other(
    key: ServerKey, still_loud: set[SafeText]
) -> None:
    monitor = monitor_of(SERVERS, {key: ACK})
    assert loud(monitor) == still_loud
    assert {
        each.profile for each in monitor.fleet.environments if monitor.judge(reading()).ack_of(each) is None
    } == still_loud
    assert {profile for profile in SERVERS if not monitor.own_acks(profile)} == still_loud


@pytest.mark.parametrize(
    ("key", "still_loud"), [((ONE, ID), {AWAY}), ((OTHER, ID), {HOME, WORK}), ((EMPTY, ID), {*SERVERS})]
)
def test_a_silence_quietens_its_environment_under_every_profile_and_no_other(
    key: ServerKey, still_loud: set[SafeText]
) -> None:
    silence = silence_of_environments([key], reading().wall, timedelta(hours=1), clean(""), clean("ana"))
    monitor = monitor_of(SERVERS).with_silences({silence.id: silence})
    assert loud(monitor) == still_loud
    silenced = {
        each.profile for each in monitor.fleet.environments if monitor.judge(reading()).silenced(each) is not None
    }
    assert silenced == SERVERS.keys() - still_loud


def test_a_renamed_profile_keeps_the_acknowledgements_and_the_silences() -> None:
    silence = silence_of_environments([(ONE, OTHER_ID)], reading().wall, timedelta(hours=1), clean(""), clean("ana"))
    monitor = monitor_of({clean("new name"): ONE}, {(ONE, ID): ACK}, row(ID), row(OTHER_ID))
    assert loud(monitor) == {clean("new name")}
    assert loud(monitor.with_silences({silence.id: silence})) == set()


def test_an_incident_opens_for_the_unacknowledged_environment() -> None:
    policies = dict.fromkeys(SERVERS, *soon().values())
    monitor = Monitor.create(dict.fromkeys(SERVERS, Limits()), policies=policies, servers=SERVERS)
    for profile in SERVERS:
        monitor, _ = monitor.apply(profile, listed([row(ID, is_up=True)]), reading())
    lost = NOW + 5_000
    for profile in SERVERS:
        monitor, _ = monitor.apply(profile, listed([row(ID)], lost), reading(lost))
    monitor, changes = monitor.with_acks({(ONE, ID): ACK}).tick(reading(lost + 20_000))
    assert {loss.profile for incident in changes.opened for loss in incident.losses} == {AWAY}


@pytest.mark.parametrize(("server", "profiles"), [(ONE, [HOME, WORK]), (OTHER, [AWAY]), (EMPTY, [])])
def test_what_is_lost_again_is_lost_where_the_acknowledgement_counted(
    server: SafeText, profiles: list[SafeText]
) -> None:
    losses = losses_of({(server, ID)}, monitor_of(SERVERS).fleet.environments, SERVERS)
    assert [loss.profile for loss in losses] == profiles


def test_an_acknowledgement_of_a_missing_environment_ends_on_the_server_with_the_environment_back() -> None:
    name = clean("nas")
    id_ = missing_id(name)
    policies = dict.fromkeys((HOME, AWAY), AlertPolicy(expect=(name,)))
    keys = [(ONE, id_), (OTHER, id_)]
    monitor = Monitor.create(dict.fromkeys((HOME, AWAY), Limits()), policies, servers={HOME: ONE, AWAY: OTHER})
    monitor = monitor.with_acks(dict.fromkeys(keys, ACK))
    monitor, _ = monitor.apply(HOME, listed([row(ID)]), reading())
    monitor, _ = monitor.apply(AWAY, listed([environment("env-9", connectionName="nas")]), reading())
    assert monitor.acks.keys() == {(ONE, id_)}
    monitor, changes = monitor.apply(HOME, listed([environment("env-8", connectionName="nas")], NOW + 5_000), reading())
    assert changes.ended_acks == {(ONE, id_)}
    assert not monitor.acks


def test_a_moment_names_no_server_and_is_shown_with_the_server_of_its_profile() -> None:
    live = monitor_of(SERVERS, {(ONE, ID): ACK})
    moments = {
        profile: Moment(reading(), monitor_of({profile: EMPTY}).fleet.by_profile[profile], live.own_acks(profile))
        for profile in SERVERS
    }
    assert {profile: [*moment.acks] for profile, moment in moments.items()} == {HOME: [ID], WORK: [ID], AWAY: []}
    past = rewound(live, moments)
    assert past.acks == {(ONE, ID): ACK}
    assert past.fleet.servers == SERVERS
    assert rewound(live, {}).fleet.servers == SERVERS
    assert {each.profile for each in past.fleet.environments if not past.judge(reading()).is_acked(each)} == {AWAY}


KEYS = [*product((ONE, OTHER), (ID, OTHER_ID))]
LISTINGS = st.fixed_dictionaries(
    {profile: st.dictionaries(st.sampled_from([ID, OTHER_ID]), st.booleans()) for profile in SERVERS}
)
"""Listed ids with up (true) or down, by profile."""


@given(keys=st.sets(st.sampled_from(KEYS)), listings=LISTINGS, order=st.permutations([*SERVERS]))
def test_whatever_is_acknowledged_the_right_rows_are_quiet_until_the_right_rows_recover(
    keys: set[ServerKey], listings: dict[SafeText, dict[SafeText, bool]], order: list[SafeText]
) -> None:
    monitor = Monitor.create(dict.fromkeys(SERVERS, Limits()), servers=SERVERS).with_acks(dict.fromkeys(keys, ACK))
    seen: list[tuple[SafeText, SafeText, bool]] = []
    left = set(keys)
    for profile in order:
        # One row is up everywhere, because an empty listing proves nothing.
        rows = [row(clean("env-0"), is_up=True), *(row(id_, is_up=is_up) for id_, is_up in listings[profile].items())]
        monitor, changes = monitor.apply(profile, listed(rows), reading())
        seen += [(SERVERS[profile], id_, is_up) for id_, is_up in listings[profile].items()]
        found = {key: [up for server, id_, up in seen if key == (server, id_)] for key in left}
        ended = {key for key, ups in found.items() if ups and all(ups)}
        left -= ended
        assert (set(changes.ended_acks), set(monitor.acks)) == (ended, left)
    expected = {
        (profile, id_)
        for profile, ids in listings.items()
        for id_, is_up in ids.items()
        if not is_up and (SERVERS[profile], id_) not in left
    }
    assert {each.key for each in monitor.fleet.environments if monitor.judge(reading()).is_alerting(each)} == expected


def test_the_entry_of_each_server_has_a_name_of_its_own() -> None:
    both = {(ONE, ID): Ack(5.0, clean("disk")), (OTHER, ID): Ack(6.0, clean(""), 4.0)}
    content = entries_of(both)
    assert content == {
        "one.example env-1": {"at": 5.0, "note": "disk", "server": "one.example", "id": "env-1"},
        "other.example:8283/prod env-1": {
            "at": 6.0,
            "sign_at": 4.0,
            "server": "other.example:8283/prod",
            "id": "env-1",
        },
    }
    assert acks_of(json.loads(json.dumps(content))) == both


@pytest.mark.parametrize("damaged", [{"server": 5, "id": "env-1"}, {"server": "a"}, {"server": "a", "id": None}])
def test_an_entry_whose_environment_is_damaged_is_dropped(damaged: dict[str, object]) -> None:
    assert acks_of({"a env-1": {"at": 5, "note": ""} | damaged}) == {}


def silence_of(*keys: ServerKey) -> Silence:
    return silence_of_environments(keys, reading().wall, timedelta(hours=1), clean("disk"), clean("ana"))


@pytest.mark.parametrize("keys", [5, "ab", [], [["one.example"]], [["one.example"] * 3], [[5, "env-1"]], [["a", 5]]])
def test_a_silence_whose_environments_are_damaged_is_dropped(keys: object) -> None:
    silence = silence_of((ONE, ID), (ONE, OTHER_ID))
    ((id_, entry),) = silences_content({silence.id: silence}).items()
    assert silences_of({id_: entry}, lambda _: None) == {silence.id: silence}
    assert silences_of({id_: entry | {"environments": keys}}, lambda _: None) == {}


# Several profiles

BOTH = (WORK, HOME)


def both() -> Fleet:
    return Fleet({profile: ProfileState(profile=profile) for profile in BOTH})


def test_one_id_under_two_profiles_is_two_environments() -> None:
    fleet, _ = both().apply(WORK, listed([environment("env-1", connectionName="ours")]))
    fleet, _ = fleet.apply(HOME, listed([environment("env-1", connectionName="mine", connectionId=None)]))
    assert (len(fleet), fleet.are_several, Fleet({WORK: ProfileState()}).are_several) == (2, True, False)
    assert {tracked.key: tracked.presence for tracked in fleet.environments} == {
        (WORK, "env-1"): Presence.ONLINE,
        (HOME, "env-1"): Presence.OFFLINE,
    }
    ours = fleet.tracked((WORK, clean("env-1")))
    assert ours is not None
    assert ours.environment.name == "ours"
    assert fleet.tracked((clean("other"), clean("env-1"))) is None


def test_a_failed_poll_of_one_is_no_failure_of_the_other() -> None:
    fleet, _ = both().apply(WORK, listed(beating(3)))
    fleet, events = fleet.apply(HOME, failed(Cause.TIMEOUT))
    assert events == ()
    assert [profile_state.failure is None for profile_state in fleet] == [True, False]
    assert fleet.is_listed


@pytest.mark.parametrize(("seconds", "age_s"), [(10, None), (16, 16), (26, 26), (100, 100)])
def test_the_age_of_the_oldest_listing_is_told_if_a_listing_is_stale_or_blind(
    seconds: float, age_s: float | None
) -> None:
    assert both().old_listing_age(reading(NOW)) is None
    fleet, _ = both().apply(WORK, listed(beating(1)))
    fleet, _ = fleet.apply(HOME, listed(beating(1), NOW + 10_000))
    age = None if age_s is None else timedelta(seconds=age_s)
    assert fleet.old_listing_age(reading(NOW + seconds * 1000)) == age


def test_each_is_judged_by_its_own_server_s_clock() -> None:
    fleet, _ = both().apply(WORK, listed(beating(1), skew=0))
    # The second server's clock is an hour behind: the heartbeats read as an hour old here, and are ten seconds old.
    fleet, _ = fleet.apply(HOME, listed(beating(1), NOW, skew=3_600_000))
    assert all(tracked.presence is Presence.ONLINE for tracked in fleet.environments)
    assert [profile_state.clock.server_time(WallMs(NOW + 3_600_000)) - NOW for profile_state in fleet] == [
        pytest.approx(3_600_000),
        pytest.approx(0),
    ]


def test_events_name_their_profile() -> None:
    fleet = both()
    for profile in BOTH:
        fleet, _ = fleet.apply(profile, listed(beating(12)))
    rows = [environment(f"env-{n}", connectionId=None, lastHeartbeat=None) for n in range(1, 13)]
    fleet, events = fleet.apply(HOME, listed(rows, NOW + 5_000))
    assert [event.kind for event in events] == [Kind.TOGETHER]
    assert {event.profile for event in (*events, *flatten(events))} == {HOME}


@given(st.lists(st.tuples(st.sampled_from(BOTH), st.sets(st.integers(1, 5)), st.booleans()), max_size=12))
def test_what_happens_under_one_profile_is_what_would_happen_without_the_other(
    polls: list[tuple[SafeText, set[int], bool]],
) -> None:
    fleet = both()
    alone = {profile: ProfileState(profile=profile) for profile in BOTH}
    for number, (profile, ids, is_well) in enumerate(polls):
        at = NOW + number * 5_000
        rows = [environment(f"env-{n}", lastHeartbeat=at - 1_000) for n in sorted(ids)]
        outcome = listed(rows, at) if is_well else failed(at=at)
        fleet, events = fleet.apply(profile, outcome)
        alone[profile], own_events = alone[profile].apply(outcome)
        assert events == own_events
        assert dict(fleet.by_profile) == alone


def test_a_filter_asks_for_a_profile_and_uses_each_fleets_clock() -> None:
    fleet, _ = both().apply(WORK, listed([environment("a", lastHeartbeat=NOW - 50_000)]))
    fleet, _ = fleet.apply(HOME, listed([environment("b", lastHeartbeat=NOW - 50_000)], NOW, skew=3_600_000))

    def found(query: str) -> list[tuple[str, str]]:
        return [tracked.key for tracked in arrange(contexts_at(fleet, NOW), View(query=parse(query)), ALL).rows]

    assert (found("profile:wo*"), found("!profile:=work"), found("profile:none")) == ([(WORK, "a")], [(HOME, "b")], [])
    # By the first server's clock the time is NOW, by the second server's an hour before.
    assert found("beat:45s..55s") == [(WORK, "a")]


def test_a_fleet_is_refused_while_the_newest_poll_was() -> None:
    profile_state, _ = ProfileState().apply(failed(Cause.UNAUTHORIZED))
    assert profile_state.is_refused
    assert not profile_state.apply(failed(Cause.FORBIDDEN))[0].is_refused
    assert not profile_state.apply(listed(beating(2)))[0].is_refused
