"""The sentence for a chat: about one environment or several, and harmless everywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, key_of, listed, own_device_id, reading
from support.markdown import HOSTILE, assert_is_harmless

from envwatch.fleet.alerting.acknowledgements import Ack
from envwatch.fleet.alerting.alert_policy import AlertPolicy
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Slept
from envwatch.model.text import clean
from envwatch.views.report.chat import incident_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

# `NOW` is 2025-10-09 08:53:20 UTC.
MINUTE = 60_000.0


def named(name: str, **changes: Any) -> Environment:
    return environment(**{"id": f"env-{name}", "connectionName": name, "deviceId": own_device_id(name)} | changes)


def lost(name: str, minutes_ago: float = 8, **changes: Any) -> Environment:
    seen = {"lastHeartbeat": NOW - minutes_ago * MINUTE, "lastSeenAt": NOW - minutes_ago * MINUTE}
    return named(name, **{"connectionId": None, "podId": None} | seen | changes)


def after(*outcomes: Outcome, profile: str = "prod") -> Monitor:
    monitor = Monitor.create({NO_PROFILE: Limits()}, profile_name=clean(profile))
    for outcome in outcomes:
        monitor, _ = monitor.apply(NO_PROFILE, outcome, outcome.awake if isinstance(outcome, Slept) else outcome.ended)
    return monitor


def said(monitor: Monitor, at: float = NOW, **how: Any) -> str:
    return incident_sentence([*monitor.fleet.environments], monitor, reading(at), how.pop("zone", UTC), **how)


def said_of(*rows: Environment, **how: Any) -> str:
    return said(after(listed(rows)), **how)


def acknowledged(monitor: Monitor, names: Sequence[str], note: str = "", at: float = NOW) -> Monitor:
    return monitor.with_acks({key_of(f"env-{name}"): Ack(at, clean(note)) for name in names})


# One environment.


def test_a_lost_environment_is_told_with_time_reason_command_and_acknowledgement() -> None:
    monitor = acknowledged(after(listed([lost("web-1")])), ["web-1"], "disk swap", NOW - 3 * MINUTE)
    assert said(monitor) == (
        "`web-1` (`prod`) is offline since 08:45:20 UTC (8m): disconnected. "
        "Start it, if no listener runs on its machine, with `letta server --computer-name=web-1`. "
        "Acknowledged at 08:50:20 UTC: `disk swap`."
    )


def test_a_note_may_be_missing_and_nothing_is_said_where_no_acknowledgement_is_known() -> None:
    monitor = after(listed([lost("web-1")]))
    assert said(acknowledged(monitor, ["web-1"])).endswith(". Acknowledged at 08:53:20 UTC.")
    assert "cknowledged" not in said(monitor)


def test_a_host_that_shares_its_acknowledgement_is_named() -> None:
    marks = {"ack": {"by": "ops-box", "at": "2025-10-09T08:50:00Z", "note": "disk swap"}}
    assert said_of(lost("web-1", envwatch=marks)).endswith(". Acknowledged by `ops-box`: `disk swap`.")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (named("a"), "`a` (`prod`) is online since 07:53:20 UTC (1h)."),
        (named("a", connectedAt=None), "`a` (`prod`) is online."),
        (named("a", lastHeartbeat=NOW - 60_000), "`a` (`prod`) is late since 08:53:05 UTC (15s): a ping was missed."),
        (
            named(
                "a",
                deviceId="desktop:1",
                listenerInstanceId="desktop-primary:1",
                connectionId=None,
                lastSeenAt=NOW - 2 * MINUTE,
                lastHeartbeat=None,
            ),
            (
                "`a` (`prod`) is offline since 08:51:20 UTC (2m): disconnected. "
                "What to do: open the Letta Code desktop app on that machine, and turn remote access on."
            ),
        ),
        (
            lost("a", 60 * 30, metadata={"lettaCodeVersion": "0.30.28"}),
            (
                "`a` (`prod`) is offline since 2025-10-08 02:53:20 UTC (1d 6h): disconnected. "
                "Start it, if no listener runs on its machine, with `letta server --env-name=a`."
            ),
        ),
    ],
)
def test_every_state_is_told_as_it_is(row: Environment, text: str) -> None:
    assert said_of(row) == text


def test_what_is_expected_and_was_never_listed_is_told_as_missing() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(expect=(clean("web-9"),))})
    for at in (NOW, NOW + 5_000):
        monitor, _ = monitor.apply(NO_PROFILE, listed([], at), reading(at))
    assert said(monitor, NOW + 60_000).startswith("`web-9` is missing since 08:53:2")
    assert ": expected, never listed. Start it, " in said(monitor, NOW + 60_000)


def test_a_replaced_row_gets_no_command() -> None:
    monitor = after(listed([lost("old")]))
    (old,) = monitor.fleet.environments
    moved = replace(old, replaced_by=clean("env-new"), replaced_by_name=clean("@new"))
    text = incident_sentence([moved], monitor, reading(), UTC)
    assert text.endswith(": `replaced by (at)new`.")


def test_the_zone_of_a_time_is_named_with_its_offset() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert " since 14:15:20 UTC+05:30 (8m)" in said_of(lost("web-1"), zone=zone)


@pytest.mark.parametrize(
    ("minutes", "since"), [(24 * 60 - 1, "08:54:20 UTC (23h)"), (24 * 60, "2025-10-08 08:53:20 UTC (1d)")]
)
def test_a_time_has_a_date_from_a_day_on(minutes: float, since: str) -> None:
    assert f" since {since}" in said_of(lost("web-1", minutes))


def test_a_recorded_moment_is_named() -> None:
    assert said_of(lost("web-1"), is_past=True).startswith("As of 08:53:20 UTC: `web-1` (`prod`) is offline since ")


# Unknown states.


def test_while_blind_the_state_is_unknown_since_the_newest_listing() -> None:
    blind = after(listed([lost("web-1")]), failed(at=NOW + 5 * MINUTE))
    assert said(blind, NOW + 5 * MINUTE) == (
        "The state of `web-1` (`prod`) is unknown since 08:53:20 UTC (5m): `timeout: timeout`, was offline."
    )


def test_a_time_that_cannot_be_true_is_no_since() -> None:
    assert said_of(named("a", lastHeartbeat=NOW * 1000)).startswith("The state of `a` (`prod`) is unknown: ")
    monitor = after(listed([lost("a")]))
    (row,) = monitor.fleet.environments
    for since_at in (0.0, 1e12):
        text = incident_sentence([replace(row, since_at=ServerMs(since_at))], monitor, reading(), UTC)
        assert text.startswith("`a` (`prod`) is offline: disconnected."), since_at


# Several environments.


def test_several_that_were_lost_together_are_one_sentence_with_their_first_names() -> None:
    rows = [lost(f"web-{number}") for number in range(1, 13)]
    assert said_of(*rows, shared=clean("pod p-7")) == (
        "12 environments (`prod`) are offline since 08:45:20 UTC (8m), all of `pod p-7`: "
        "`web-1`, `web-2`, `web-3`, `web-4` and 8 more; disconnected. "
        "Start each, if no listener runs on its machine, with `letta server`."
    )


def test_several_that_were_lost_at_different_times_have_two_times() -> None:
    assert said_of(lost("a", 8), lost("b", 7.02)).startswith(
        "2 environments (`prod`) are offline since 08:45:20 UTC (8m): `a` and `b`; "
    )
    assert said_of(lost("a", 8), lost("b", 7)).startswith(
        "2 environments (`prod`) are offline, the first since 08:45:20 UTC (8m), the last since 08:46:20 UTC (7m): "
    )


def test_several_in_different_states_are_counted() -> None:
    heartbeat_lost = named("c", lastHeartbeat=NOW - 8 * MINUTE, lastSeenAt=NOW - 8 * MINUTE)
    text = said_of(lost("a"), lost("b", listenerInstanceId="desktop-direct-cloud:1"), heartbeat_lost, named("d"))
    assert text.startswith("Of 4 environments (`prod`), 3 are offline and 1 is online, down since 08:4")
    assert "`a`, `b`, `c` and `d`; disconnected (2) and heartbeat lost (1). Start 2 of them, " in text


def test_several_have_the_profile_where_it_is_the_same() -> None:
    profiles = [clean("prod"), clean("test")]
    monitor = Monitor.create(dict.fromkeys(profiles, Limits()))
    for profile in profiles:
        monitor, _ = monitor.apply(profile, listed([lost("a"), lost("b")]), reading())
    by_profile = [[each for each in monitor.fleet.environments if each.profile == profile] for profile in profiles]
    for profile, own in zip(profiles, by_profile, strict=True):
        assert incident_sentence(own, monitor, reading(), UTC).startswith(f"2 environments (`{profile}`) are offline")
    every = [each for own in by_profile for each in own]
    assert incident_sentence(every, monitor, reading(), UTC).startswith("4 environments are offline")


def test_while_blind_the_states_of_several_are_unknown() -> None:
    blind = after(listed([lost("a"), named("b")]), failed(at=NOW + 5 * MINUTE))
    assert said(blind, NOW + 5 * MINUTE).startswith(
        "The states of 2 environments (`prod`) are unknown since 08:53:20 UTC (5m): `a` and `b`; "
    )


def test_one_acknowledgement_of_all_is_quoted_and_several_are_counted() -> None:
    monitor = after(listed([lost("a"), lost("b"), lost("c")]))
    assert said(acknowledged(monitor, "abc", "disk swap")).endswith(
        " All are acknowledged at 08:53:20 UTC: `disk swap`."
    )
    assert said(acknowledged(monitor, "ab", "disk swap")).endswith(" 2 of 3 are acknowledged.")
    both = acknowledged(acknowledged(monitor, "ab", "disk swap"), "c", "other")
    assert said(both).endswith(" 3 of 3 are acknowledged.")


def test_a_command_that_a_chat_would_change_is_told_without_the_name() -> None:
    for name in ("@channel", "a|b", "x" * 200):
        assert said_of(lost(name)).endswith(" with `letta server`."), name
    assert said_of(lost("my box")).endswith(" with `letta server --computer-name='my box'`.")


HASHED = "5b491561437b4f0e9c7d0a1b2c3d4e5f"


def test_the_start_commands_are_told_as_the_pane_has_them() -> None:
    assert said_of(lost("web-1", deviceId=HASHED)).endswith(
        " Start it, if no listener runs on its machine, with `letta server --org=org-1 --computer-name=web-1`."
    )
    assert said_of(lost("web-1", deviceId="spawned-7")).endswith(
        " with `letta server --computer-name=web-1` or `letta server --org=org-1 --computer-name=web-1`: the device id "
        "does not tell whether the listener was started with --org."
    )
    assert said_of(lost("@channel", deviceId=HASHED)).endswith(" with `letta server --org=org-1`.")
    assert said_of(lost("web-1", deviceId=HASHED, organizationId="@channel")).endswith(
        " with `letta server --org` and the organization's id."
    )


def test_each_way_to_start_several_is_told_with_its_count() -> None:
    hashed = [lost(f"b-{number}", deviceId=f"{number:032x}", organizationId="org-2") for number in range(2)]
    assert said_of(*hashed).endswith(
        " Start each, if no listener runs on its machine, with `letta server --org=org-2`."
    )
    assert said_of(*(lost(name) for name in "xyz"), *hashed).endswith(
        " Start, if no listener runs on its machine, 3 with `letta server`; 2 with `letta server --org=org-2`."
    )
    many = [lost(f"c-{number}", deviceId=f"{number:032x}", organizationId=f"org-{number}") for number in range(5)]
    assert said_of(*many).endswith("; 2 as the details say.")


TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=90), st.text("@`<>|:/a \\*_", max_size=90))


@given(st.lists(TEXTS, min_size=1, max_size=7), TEXTS, TEXTS, st.sampled_from([0.0, 5 * MINUTE]), st.booleans())
def test_whatever_the_names_and_notes_are_the_sentence_is_one_clean_line_in_which_nothing_acts(
    names: list[str],
    note: str,
    mark: str,
    later: float,
    is_gone: bool,  # noqa: FBT001  drawn
) -> None:
    marks = {"ack": {"by": mark, "note": note}}
    kind = lost if is_gone else named
    rows = [
        kind("x", id=f"env-{number}", connectionName=name, envwatch=marks if number % 2 else {})
        for number, name in enumerate(names)
    ]
    own_note = clean(note.replace("://", ""))  # a user's note keeps links
    monitor = after(listed(rows), profile=mark).with_acks({key_of("env-0"): Ack(NOW, own_note)})
    if later:
        outcome = failed(at=NOW + later)
        monitor, _ = monitor.apply(NO_PROFILE, replace(outcome, message=clean(note)), outcome.ended)
    text = said(monitor, NOW + later, shared=clean(f"pod {mark}"))
    assert clean(text, 10_000) == text
    assert "\n" not in text
    assert_is_harmless(text)


def test_a_thousand_environments_are_a_short_line() -> None:
    assert len(said_of(*(lost(f"web-{number}") for number in range(1_000)))) < 300
