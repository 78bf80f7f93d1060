"""The rule trace: every rule with inputs and result, consistent with the verdict."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, beating, environment, failed, listed, reading, watched

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean
from envwatch.views.pane.explanation import answer, explanation_rows, trace
from envwatch.views.pane.layout import PaneLayout

if TYPE_CHECKING:
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


RULES = [
    "Letta's client",
    "poll",
    "clock",
    "connectionId",
    "lastHeartbeat",
    "clock check",
    "platform",
    "absence",
    "flapping",
    "replacement",
]


class Found(NamedTuple):
    inputs: str
    result: str
    is_against: bool = False


def results(*outcomes: Outcome, at: float = NOW, skew: float = 0.0) -> dict[str, Found]:
    """Return the trace of `env-1` after some outcomes, with the answer as the result of `verdict`."""
    profile_state, _ = watched(outcomes)
    arguments = (profile_state.environments[environment().id], profile_state, reading(at, skew), UTC)
    found = trace(*arguments)
    assert [rule for rule in found if rule != "listener"] == RULES
    verdict = Found("", result(answer(*arguments)))
    return {"verdict": verdict} | {rule: Found(*finding) for rule, finding in found.items()}


def result(sentence: str) -> SafeText:
    match = re.fullmatch(r"This machine is ([a-z, ]+): .+, since .+\.", sentence)
    assert match, sentence
    return clean(match[1])


def of_row(**changes: Any) -> dict[str, Found]:
    return results(listed([environment("env-1", **changes)]))


@pytest.mark.parametrize(
    ("changes", "rule", "inputs", "result"),
    [
        ({"connectionId": None}, "connectionId", "null", "offline: disconnected"),
        ({"connectionId": ""}, "connectionId", "empty", "offline: disconnected"),
        ({"lastHeartbeat": None}, "lastHeartbeat", "null", "no heartbeat: offline"),
    ],
)
def test_without_a_connection_or_heartbeat_a_row_is_offline(
    changes: dict[str, Any], rule: str, inputs: str, result: str
) -> None:
    found = of_row(**changes)
    assert (found[rule].inputs, found[rule].result, found["verdict"].result) == (inputs, result, "offline")
    assert found["Letta's client"].result.startswith("would say offline")


def test_the_answer_comes_first_in_one_sentence_then_each_rule_with_its_inputs_below() -> None:
    profile_state, _ = watched([listed([environment(connectionId=None)])])
    (tracked,) = profile_state.environments.values()
    rows = explanation_rows(tracked, Monitor(Fleet({NO_PROFILE: profile_state})), reading(), UTC, PaneLayout(60))
    texts = ["".join(piece.text for piece in row) for row in rows]
    assert texts[0] == "This machine is offline: disconnected, since before the"
    place = texts.index("connectionId → offline: disconnected")
    assert texts[place + 1] == "  null"
    assert rows[place][-1].style == "bold offline"


@pytest.mark.parametrize("device", ["sandbox-1", "sandbox1"])
def test_the_deciding_alert_rule_is_named(device: str) -> None:
    profile_state, _ = watched([listed([environment(connectionId=None, deviceId=device)])])
    (tracked,) = profile_state.environments.values()
    rows = explanation_rows(tracked, Monitor(Fleet({NO_PROFILE: profile_state})), reading(), UTC, PaneLayout(500))
    said = "".join(piece.text for piece in rows[1])
    assert (said == "does not page: a managed sandbox") == (device == "sandbox-1")


def test_nothing_speaks_against_a_healthy_row() -> None:
    found = of_row()
    assert not [rule_result for rule_result in found.values() if rule_result.is_against]
    assert found["verdict"].result == "online"
    assert found["Letta's client"].result == "would say online"
    assert found["lastHeartbeat"].inputs == "2025-10-09 08:53:08Z, 12 s old in the newest poll"


@pytest.mark.parametrize(
    ("age", "result", "verdict"),
    [
        (0, "younger than 45 s: beating", "online"),
        (44_999, "younger than 45 s: beating", "online"),
        (45_000, "45 s or older: late, a ping was missed", "late"),
        (119_999, "45 s or older: late, a ping was missed", "late"),
        (120_000, "120 s or older: heartbeat lost", "offline"),
    ],
)
def test_the_heartbeat_is_judged_at_its_limits(age: float, result: str, verdict: str) -> None:
    found = of_row(lastHeartbeat=NOW - age)
    assert (found["lastHeartbeat"].result, found["verdict"].result) == (result, verdict)


@pytest.mark.parametrize(
    "part",
    [
        "if the server refuses the key (401, 403)",
        'the login has expired (the log says "reauthentication")',
        "a clone replaces the listener (close code 1000)",
        "the first connection fails for minutes",
        "with --channels, if the restarts of the gateway are used up",
        'the journal of the service then has "No API key found. Starting OAuth login" and a sign-in address',
        'its whole output is one line with "state":"error", and it writes no log file',
        "Run the command once by hand without this option to see the cause",
        'A refused key stands in the log file after "FATAL:", not in the journal',
        "The device id of a machine is `deviceId` in ~/.letta/settings.json",
    ],
)
def test_each_end_of_a_listener_is_explained_unless_an_app_runs_the_listener(part: str) -> None:
    *_, (rule, found) = of_row(connectionId=None).items()
    assert (rule, found.result) == ("listener", "ended, or waits for a login")
    assert part in found.inputs
    assert "listener" not in of_row(connectionId=None, listenerInstanceId="desktop-direct-cloud:1")
    assert "listener" not in of_row()


def test_a_listener_with_an_organization_is_explained_with_its_own_login_and_device_id() -> None:
    inputs = of_row(connectionId=None, deviceId="5b491561437b4f0e9c7d0a1b2c3d4e5f")["listener"].inputs
    assert "LETTA_API_KEY are ignored: `letta server --org=ID`, once by hand, logs in." in inputs
    assert "so the two differ" in inputs


def test_a_listen_row_is_explained_by_the_letta_in_which_it_ran() -> None:
    inputs = of_row(connectionId=None, listenerInstanceId="listen-1")["listener"].inputs
    assert inputs.startswith("The listener of /server ends with the `letta` in which it runs.")
    assert "--lifecycle-output" not in inputs


@pytest.mark.parametrize(
    ("later", "result"),
    [(15_000, "fresh"), (15_001, "stale: verdicts are from that moment"), (60_001, "blind: every machine is unknown")],
)
def test_an_old_listing_is_called_stale_or_blind(later: float, result: str) -> None:
    found = results(listed([environment()]), failed(at=NOW + later), at=NOW + later)
    assert found["poll"].result == result
    assert (found["verdict"].result == "unknown, was on") is result.startswith("blind")


def test_counts_agree_with_their_nouns() -> None:
    one = results(listed([environment()]))
    assert ": 1 machine in 1 request, " in one["poll"].inputs
    assert one["clock"].inputs.endswith(" 1 response")
    rows = [environment(), environment("env-2")]
    two = results(*[listed(rows, page_size=1)] * 2)
    assert ": 2 machines in 2 requests, " in two["poll"].inputs
    assert two["clock"].inputs.endswith(" 2 responses")


def test_a_skewed_local_clock_makes_the_official_client_disagree() -> None:
    found = results(listed([environment()], skew=3_600_000), skew=3_600_000)
    assert found["verdict"].result == "online"
    assert found["clock"].is_against
    assert found["Letta's client"].result == "would say offline: see clock and poll for the difference"
    assert results(listed([environment()], dated=False))["clock"].result == "ages count by this machine's clock"


def test_the_skew_check_says_when_the_heartbeat_advanced() -> None:
    first = listed([environment()])
    once = results(first, listed([environment()], NOW + 5_000), at=NOW + 5_000)
    assert once["clock check"].inputs == "envwatch has seen no newer heartbeat yet"

    rows = [environment(lastHeartbeat=NOW + 4_000)]
    twice = results(first, listed(rows, NOW + 5_000), listed(rows, NOW + 12_000), at=NOW + 12_000)
    assert twice["clock check"].inputs.startswith("a new heartbeat came 7 s before the newest poll")
    assert twice["clock check"].result == "agrees with the clock"


def test_no_heartbeat_is_awaited_from_a_row_without_a_connection_or_without_a_listing() -> None:
    off = of_row(connectionId=None)["clock check"]
    assert (off.inputs, off.result) == (
        "no heartbeat comes without a connection",
        "not needed: the verdict uses no heartbeat",
    )
    gone = results(
        listed([environment("env-1"), environment("env-2")]),
        *(listed([environment("env-2")], NOW + 5_000 * number) for number in (1, 2)),
        at=NOW + 10_000,
    )
    assert gone["clock check"].result == "not needed: the verdict uses no heartbeat"
    assert of_row(lastHeartbeat=None)["clock check"].result == "no result before the next heartbeat"


@pytest.mark.parametrize(("seconds", "word"), [(115, "late"), (120, "offline")])
def test_a_heartbeat_against_the_clock_is_not_used(seconds: int, word: str) -> None:
    rows = [environment(lastHeartbeat=NOW + 3_600_000)]
    at = NOW + seconds * 1000
    found = results(listed(rows), listed(rows, at), at=at)
    assert found["lastHeartbeat"].result == "impossible age: see clock check"
    assert found["clock check"].inputs.startswith(f"the first poll with this heartbeat came {seconds} s before")
    assert (found["clock check"].result, found["verdict"].result) == (
        "the clock is wrong: this age counts instead",
        word,
    )


@pytest.mark.parametrize("beat", [1e308, -1e308, float("inf")])
def test_a_heartbeat_of_a_recording_may_be_at_any_time(beat: float) -> None:
    profile_state, _ = watched([listed([environment()])])
    tracked = profile_state.environments[environment().id]
    odd = replace(tracked, environment=replace(tracked.environment, last_heartbeat_at=ServerMs(beat)))
    assert [*trace(odd, profile_state, reading(NOW), UTC)][:10] == RULES


def test_no_rule_about_a_row_is_applied_to_an_expected_name_without_a_row() -> None:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(expect=(clean("web-9"),))})
    monitor, _ = monitor.apply(NO_PROFILE, listed([]), reading())
    (missing,) = monitor.fleet.environments
    trace_of_missing = trace(missing, monitor.fleet.for_environment(missing), reading())
    found = {rule: Found(*finding) for rule, finding in trace_of_missing.items()}
    for rule in ("connectionId", "lastHeartbeat", "clock check"):
        assert (found[rule].result, found[rule].is_against) == ("not used", False), rule
    assert found["absence"].result == "off"


def test_a_row_is_gone_after_two_listings_without_the_row() -> None:
    rows = beating(3)
    once = results(listed(rows), listed(rows[1:], NOW + 5_000), at=NOW + 5_000)
    twice = results(listed(rows), listed(rows[1:], NOW + 5_000), listed(rows[1:], NOW + 10_000), at=NOW + 10_000)
    listed_again = results(listed(rows), listed(rows[1:], NOW + 5_000), listed(rows, NOW + 10_000), at=NOW + 10_000)
    assert once["absence"] == Found(
        clean("the newest complete answer lacks this machine"),
        clean("not gone yet: 2 polls in a row must lack it"),
        is_against=True,
    )
    assert twice["absence"].inputs == "the newest 2 complete answers lack this machine"
    assert (twice["absence"].result, twice["verdict"].result) == ("gone", "gone")
    assert listed_again["absence"] == Found(clean("the newest complete poll has this machine"), clean("not gone"))


def test_flapping_is_explained_without_a_formula() -> None:
    assert of_row()["flapping"].inputs == "no loss, return or reconnect in the last 10 minutes"
    rows = [environment(connectionId=f"conn-{number}") for number in range(2)]
    found = results(*[listed([row], NOW + 5_000 * number) for number, row in enumerate(rows)], at=NOW + 5_000)
    assert found["flapping"] == Found(
        clean(
            "losses, returns or reconnects in 6 % of the last 20 half minutes (recent ones count more); "
            "flapping begins at 30 % and ends at 20 %"
        ),
        clean("steady"),
    )


def test_a_row_in_doubt_is_not_gone_after_two_listings() -> None:
    rows = beating(3)
    doubtful = listed(rows[1:], NOW + 10_000)
    doubtful = doubtful._replace(snapshot=doubtful.snapshot._replace(in_doubt=frozenset([rows[0].id])))
    found = results(listed(rows), listed(rows[1:], NOW + 5_000), doubtful, at=NOW + 10_000)
    assert (found["absence"].result, found["verdict"].result) == (
        "not gone yet: the server has to confirm the absence",
        "online",
    )


def test_a_quarantined_listing_or_loss_is_named() -> None:
    found = results(listed(beating(3)), listed([], NOW + 5_000), at=NOW + 5_000)
    assert found["platform"].result == "the newest poll is not believed yet"
    assert found["verdict"].result == "online"
    found = results(listed(beating(6)), listed(beating(3), NOW + 5_000), at=NOW + 5_000)
    assert found["platform"].inputs == "3 of 6 machines vanished at once, 1 poll in a row"
    assert found["platform"].result == "the loss is not believed yet"


def test_before_the_first_listing_nothing_is_known() -> None:
    profile_state, _ = watched([listed([environment()])])
    found = trace(profile_state.environments[environment().id], ProfileState(), reading(), UTC)
    assert found["poll"] == ("no answer yet", "nothing is known yet", True)


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "connectionId": st.sampled_from([None, "", "conn-1", "conn-2"]),
        "lastHeartbeat": st.none() | st.floats(NOW - 300_000, NOW + 300_000),
        "connectedAt": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    },
)


@given(st.lists(ROWS, min_size=1, max_size=5), st.sampled_from([-86_400_000.0, -1_000.0, 0.0, 7_000.0, 86_400_000.0]))
def test_the_trace_never_contradicts_the_verdict(rows: list[dict[str, Any]], skew: float) -> None:
    profile_state, _ = watched(
        listed([environment("env-1", **row)], NOW + 5_000 * number, skew=skew) for number, row in enumerate(rows)
    )
    tracked = profile_state.environments[environment().id]
    arguments = (tracked, profile_state, reading(NOW + 5_000 * (len(rows) - 1), skew), UTC)
    found = {rule: Found(*finding) for rule, finding in trace(*arguments).items()}
    assert result(answer(*arguments)) == tracked.presence.value
    if tracked.verdict.is_up and not tracked.clock_suspect:
        assert not any(found[rule].is_against for rule in ("connectionId", "lastHeartbeat", "absence"))
    if tracked.presence is Presence.OFFLINE:
        assert any(found[rule].is_against for rule in ("connectionId", "lastHeartbeat", "clock check"))
    assert all(each.inputs.isprintable() and each.result.isprintable() for each in found.values())


# Replacement.


MACHINE: dict[str, Any] = {"deviceId": "machine", "listenerInstanceId": "server-" + "a" * 16}
LOST: dict[str, Any] = {**MACHINE, "connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 10_000}


def beside(id_: str = "env-2", **changes: Any) -> Environment:
    return environment(id_, **(MACHINE | {"listenerInstanceId": "server-" + "b" * 16} | changes))


def replacement(*outcomes: Outcome) -> Found:
    return results(*outcomes)["replacement"]


def test_a_replaced_row_is_explained_by_the_replacing_row() -> None:
    found = results(listed([environment(**LOST), beside(firstSeenAt=NOW - 5_000)]))
    assert found["replacement"].result == "replaced by laptop of env-2: no loss"
    assert found["replacement"].inputs == (
        "1 other listener with this organization, device and kind of listener; "
        "laptop of env-2 was first seen 5 s after this one's last sign of life; "
        "they never sent heartbeats side by side"
    )
    assert not found["replacement"].is_against
    assert found["verdict"].result == "offline"


def test_a_name_in_use_again_is_explained_by_the_listing_before() -> None:
    back: dict[str, Any] = {
        "connectionId": None,
        "lastHeartbeat": None,
        "lastSeenAt": NOW - 60_000,
        "firstSeenAt": NOW - 75_000,
    }
    rule = replacement(
        listed([environment(**MACHINE), beside(**back)]),
        listed([environment(**LOST), beside(firstSeenAt=NOW - 75_000)], NOW + 5_000),
    )
    assert rule.result == "replaced by laptop of env-2: no loss"
    assert rule.inputs.endswith("; laptop of env-2 was offline while this one was online, and returned later")


def test_older_rows_of_the_machine_do_not_explain_a_loss() -> None:
    rule = replacement(listed([environment(**LOST), beside(firstSeenAt=NOW - 75_000)]))
    assert rule.result == "not replaced by another"
    assert rule.inputs.endswith(
        "; laptop of env-2, the newest, was first seen 65 s before this one's last sign of life"
    )
    assert rule.is_against
    rows = [
        beside(id_, connectionName=id_, firstSeenAt=NOW - age_s * 1_000)
        for id_, age_s in (("b", 900), ("c", 75), ("d", 800))
    ]
    rule = replacement(listed([environment(**LOST), *rows]))
    assert "; c, the newest, was first seen 65 s before" in rule.inputs


def test_a_twin_is_named_with_its_twins() -> None:
    up = environment(**MACHINE)
    rule = replacement(listed([up, beside()]), listed([environment(**LOST), beside()], NOW + 5_000))
    assert rule.result == "a twin: both sent heartbeats side by side, so if one goes down, that is a loss"
    assert rule.inputs.endswith("; online at the same time: laptop of env-2")
    assert rule.is_against


def test_a_row_without_a_replacement_has_the_reason() -> None:
    assert replacement(listed([environment(**MACHINE), beside()])).result == "a machine that is on is never replaced"
    sandbox = replacement(listed([environment(**(LOST | {"listenerInstanceId": "sandbox:1"}))]))
    assert sandbox.result == "only a listener of `letta server` can be replaced, not an app or a sandbox"
    untimed = replacement(listed([environment(**(LOST | {"lastSeenAt": 1_760_000_000}))]))
    assert untimed.result == "the last sign of life has an impossible time"


def test_the_rule_is_off_for_a_server_with_a_moving_first_seen_at() -> None:
    rows = [environment(**LOST), beside(firstSeenAt=NOW - 5_000)]
    moved = [environment(**LOST), beside(firstSeenAt=NOW)]
    rule = replacement(listed(rows), listed(moved, NOW + 5_000))
    assert rule.inputs.endswith("; this server changed the firstSeenAt of a machine")
    assert rule.result == "the rule is off: none is replaced"
    assert rule.is_against
