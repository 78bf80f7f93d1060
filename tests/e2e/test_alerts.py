"""The messages of hooks under the real `envwatch watch --hooks`.

All stories run at once, on a fast clock (faketime) if a story takes minutes. Most stories end with the loss of a
machine `sentinel`, whose message arrives after all messages due before.
"""

from __future__ import annotations

import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support import alert_stories, programs
from support.alert_stories import Fast, FileLost, Lacking, NotListed, PowerCut, Restart, Story, Tale
from support.fast_clock import HAS_FAKETIME, needs_faketime
from support.pty_terminal import environment

from envwatch.cli.arguments import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

_STORIES: dict[str, Story] = {}

SENTINEL = ("opened", ["sentinel"])
_ALL = (*(f"box-{number}" for number in range(6)), "sentinel")
_HALF = _ALL[3:]
_SOON = 'interval = "1s"\nalert_after = "2s"'


def of(story: Story) -> Callable[[Any], Any]:

    def register(test: Any) -> Any:
        _STORIES[test.__name__] = story
        return test

    return register


@pytest.fixture(scope="module")
def tales(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Tale]]]:
    """Begin the stories of all selected tests, after the program that later programs are forked from."""
    programs.run([sys.executable, "-m", "envwatch", "--version"], environment(tmp_path_factory.mktemp("first")))
    names = [item.name for item in request.session.items if item.path == request.path and item.name in _STORIES]
    with ThreadPoolExecutor(len(names)) as threads:
        yield {
            name: threads.submit(_STORIES[name], tmp_path_factory.mktemp("story"), 1.0)
            for name in names
            if HAS_FAKETIME or not isinstance(_STORIES[name], Fast)
        }


@pytest.fixture
def tale(request: pytest.FixtureRequest, tales: dict[str, Future[Tale]]) -> Tale:
    return tales[request.node.name].result()


def check_power_cut(tale: Tale) -> None:
    assert tale.names == [("opened", tale.notes["dark"]), SENTINEL], tale.text


@of(PowerCut(5, 'interval = "1s"\nonline_for = "10s"\nlate_after = "8s"\nalert_after = "20s"'))
def test_a_power_cut_of_40_machines_whose_heartbeats_run_out_one_after_the_other_is_one_message(tale: Tale) -> None:
    check_power_cut(tale)


@needs_faketime
@pytest.mark.slow
@of(Fast("power_cut", 6))
def test_a_power_cut_of_40_machines_is_one_message_at_the_intervals_of_real_machines(tale: Tale) -> None:
    check_power_cut(tale)


@needs_faketime
@of(Fast("dead_machine", 20))
def test_a_dead_machine_is_one_message_four_minutes_after_its_last_heartbeat(tale: Tale) -> None:
    assert tale.names == [("opened", ["box"]), SENTINEL], tale.text
    # `date` cuts the second; a busy machine may be slow on a fast clock.
    assert 239 <= tale.notes["silent_s"] < 480, tale.text


@needs_faketime
@of(Fast("only_a_hook", 20))
def test_with_nothing_but_a_hook_one_message_names_the_servers_alone(tale: Tale) -> None:
    assert tale.names == [("opened", ["db", "nas", "web"])], tale.text


@of(alert_stories.rename)
def test_a_renamed_listener_is_an_event_and_no_incident_and_no_problem(tale: Tale) -> None:
    assert tale.names == [SENTINEL], tale.text
    assert tale.notes["renames"] == [("old-a", "new-a"), ("old-b", "new-b")], tale.text
    assert tale.notes["check"] == 0, tale.text


def check_restart(tale: Tale) -> None:
    assert tale.names == [("opened", ["box"]), SENTINEL], tale.text


@of(Restart(signal.SIGTERM))
def test_a_machine_that_goes_down_while_envwatch_restarts_is_one_message(tale: Tale) -> None:
    check_restart(tale)


@of(Restart(signal.SIGKILL))
def test_a_machine_that_goes_down_after_envwatch_was_killed_is_one_message(tale: Tale) -> None:
    check_restart(tale)


@of(alert_stories.lost_before_the_end)
def test_a_loss_that_waits_when_envwatch_ends_is_one_message_of_the_next_run(tale: Tale) -> None:
    assert tale.notes["told_before_the_end"] == 0, tale.text
    check_restart(tale)


def check_box_and_sentinel(tale: Tale, box: str) -> None:
    assert tale.names == [("opened", [box]), SENTINEL], tale.text


@of(NotListed())
def test_a_row_that_was_online_and_is_not_listed_after_a_restart_is_one_message(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")


@of(NotListed(settings='interval = "1s"\nalert_after = "2s"\nexpect = ["box-0"]'))
def test_an_expected_row_that_is_not_listed_after_a_restart_is_one_message(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")


@of(NotListed("waiting", 'interval = "1s"\nalert_after = "6s"'))
def test_a_waiting_loss_whose_row_is_not_listed_after_a_restart_is_one_message(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")


@of(NotListed("announced"))
def test_an_incident_whose_row_is_not_listed_after_a_restart_stays_open(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")


@of(Lacking(_ALL, 9, "before", answers=True))
def test_empty_listings_after_a_restart_end_no_incident(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-5")


@of(Lacking(_HALF, 9, "meanwhile", answers=False))
def test_half_listings_after_a_restart_hide_no_loss(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-5")


@of(Lacking(("box-5",), 1, "meanwhile", answers=False))
def test_a_row_that_only_the_first_listing_lacks_is_compared_with_the_run_before(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-5")


@of(Lacking(("box-5",), 9, "meanwhile", answers=True))
def test_a_row_that_listings_after_a_restart_lack_is_asked_for(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-5")
    assert "disconnected while envwatch was not running" in tale.told[0].summary, tale.text


@of(alert_stories.never_registered)
def test_an_expected_name_that_never_registered_is_one_message_over_two_runs(tale: Tale) -> None:
    check_box_and_sentinel(tale, "never")


@of(FileLost(None))
def test_without_the_alert_state_file_the_history_says_who_was_online(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")
    line = rf"the history says which environments were online at .+, as {re.escape(tale.notes['path'])} does not"
    assert re.search(line, tale.notes["errors"]), tale.text
    assert re.search(line, tale.notes["log"]), tale.text


@of(FileLost("{damaged"))
def test_with_a_damaged_alert_state_file_the_history_says_who_was_online(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")
    assert f"forgot which alerts wait or are open: damaged ({tale.notes['path']})" in tale.notes["errors"], tale.text


@of(FileLost('{"looked_at": 1, "online": ["box-1", 7, null], "waiting": [{}]}'))
def test_values_that_are_dropped_from_a_damaged_alert_state_file_are_named_in_one_line(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")
    line = f"dropped damaged values of the alert state: online (2 of 3), waiting ({tale.notes['path']})"
    assert line in tale.notes["errors"], tale.text
    assert line in tale.notes["log"], tale.text


@of(alert_stories.holder_killed)
def test_a_process_that_takes_over_sends_what_a_killed_process_did_not(tale: Tale) -> None:
    check_box_and_sentinel(tale, "box-0")


@of(alert_stories.new_name)
def test_a_machine_that_returns_under_a_new_name_before_its_heartbeat_expires_is_no_incident(tale: Tale) -> None:
    assert tale.names == [SENTINEL], tale.text


@needs_faketime
@of(Fast("dark_site", 20))
def test_a_site_without_power_is_one_message_after_five_minutes(tale: Tale) -> None:
    assert tale.names == [("opened", [])], tale.text
    # The silence begins up to two listings before the cut; a busy machine may be slow on a fast clock.
    assert 285 <= tale.notes["after_s"] < 600, tale.text
    text = (
        r"no heartbeat from any of 12 environments since \d\d:\d\d: the platform stands still, or all of them are down"
    )
    assert re.search(text, tale.told[0].summary), tale.text


@of(alert_stories.wobble)
def test_a_dead_heartbeat_that_two_replicas_round_differently_is_no_sign_of_life(tale: Tale) -> None:
    assert tale.names == [("opened", ["dead"]), SENTINEL], tale.text
    assert "online" not in tale.notes["events"], tale.text


@needs_faketime
@of(Fast("flapping", 8))
def test_a_row_that_goes_off_and_on_is_one_message_and_one_more_once_the_row_is_steady(tale: Tale) -> None:
    assert tale.distinct_names == [("opened", ["shaky"]), ("resolved", ["shaky"]), SENTINEL], tale.text
    resolved_at = next(told.at for told in tale.told if told.what == "resolved")
    assert resolved_at - tale.notes["steady_at"] >= 59, tale.text  # 60 s, as `date` cuts to the second
    assert len({told.incident for told in tale.told}) == 2, tale.text


@of(alert_stories.hanging_hook)
def test_a_hook_that_hangs_delays_no_other_hook(tale: Tale) -> None:
    assert tale.names == [("opened", ["box"])], tale.text
    assert tale.notes["hanging"] == ["started"], f"the good hook waited for the other\n{tale.text}"


@needs_faketime
@of(Fast("service_down", 80))
def test_a_message_about_an_open_incident_is_delivered_after_31_minutes_without_the_service(tale: Tale) -> None:
    assert tale.notes["runs"], tale.text
    assert tale.distinct_names == [("opened", ["box"])], f"the command\n{tale.text}"
    assert tale.notes["posted"][:1] == [["opened", ["box"]]], f"the web hook\n{tale.text}"


@of(alert_stories.one_id_on_two_servers)
def test_an_acknowledgement_does_not_quieten_the_row_of_another_server_with_the_same_id(tale: Tale) -> None:
    assert "1 problem in 4 environments" in tale.notes["output"], tale.text
    assert tale.notes["check"] == 2, tale.text
    about_box = [(told.what, told.profile) for told in tale.told if "box" in told.names]
    assert about_box == [("opened", "bolt")], tale.text


@needs_faketime
@of(Fast("key_revoked", 60))
def test_a_revoked_key_is_one_message_about_envwatch_and_one_more_once_the_key_works_again(tale: Tale) -> None:
    assert tale.notes["ended_with"] is None, f"ended with {Exit.AUTHENTICATION}?\n{tale.text}"
    assert tale.distinct_names == [("opened", []), ("resolved", [])], tale.text
    assert len({told.incident for told in tale.told}) == 1, tale.text
    # The time counts from the last listing, which may be older by the interval of 60 s and the jitter.
    assert tale.told[0].at - tale.notes["revoked_at"] >= 13 * alert_stories.MINUTE, tale.text
