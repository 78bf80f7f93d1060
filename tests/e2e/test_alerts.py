"""Messages of hooks under the real program: kills, damaged files, other processes, real services.

All stories run at once, on a fast clock (faketime) if a story takes minutes. Most stories end with the loss of a
machine `sentinel`, whose message arrives after all messages due before.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from support import programs
from support.alert_stories import APPENDS, MINUTE, Desk, Site, tale_of
from support.budget import examples
from support.fast_clock import HAS_FAKETIME, needs_faketime
from support.pty_terminal import environment

from envwatch.cli.arguments import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from support.alert_stories import Tale, Told

pytestmark = pytest.mark.slow

SENTINEL = ("opened", ["sentinel"])

SPEEDS: Final = {
    "killed_and_damaged": 1,
    "holder_killed": 1,
    "one_id_on_two_servers": 1,
    "set_to_always": 1,
    "renamed_and_killed": 1,
    "only_a_hook": 20,
    "service_down": 50,
    "key_revoked": 60,
    "power_cut": 6,
}
"""Stories of this file, and the speed of each clock."""


@pytest.fixture(scope="module")
def tales(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Tale]]]:
    """Begin the stories of all selected tests, after the program that later programs are forked from."""
    programs.run([sys.executable, "-m", "envwatch", "--version"], environment(tmp_path_factory.mktemp("first")))
    items = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    names = {item.callspec.params["tale"] for item in items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(len(SPEEDS)) as threads:
        yield {
            name: threads.submit(tale_of, name, tmp_path_factory.mktemp("story"), speed)
            for name, speed in SPEEDS.items()
            if name in names and (speed == 1 or HAS_FAKETIME)
        }


@pytest.fixture
def tale(request: pytest.FixtureRequest, tales: dict[str, Future[Tale]]) -> Tale:
    return tales[request.param].result()


def tells(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("tale", [name], indirect=True)


@tells("killed_and_damaged")
def test_losses_after_a_kill_and_beside_a_damaged_alert_state_are_one_message_each(tale: Tale) -> None:
    assert tale.names == [("opened", ["box-0"]), ("opened", ["box-1"]), SENTINEL], tale.text
    assert tale.notes["code"] == 143
    errors = tale.notes["errors"]
    assert f"forgot which alerts wait or are open: damaged ({tale.notes['path']}, kept as " in errors, tale.text
    assert "the history says which machines were online at" in errors, tale.text


@tells("holder_killed")
def test_the_next_process_sends_the_unsent_messages_of_a_killed_process(tale: Tale) -> None:
    assert tale.names == [("opened", ["box-0"]), SENTINEL], tale.text


@tells("one_id_on_two_servers")
def test_an_acknowledgement_on_the_dashboard_quietens_the_row_of_its_server_alone(tale: Tale) -> None:
    assert "1 of 4 machines paging" in tale.notes["output"], tale.text
    assert tale.notes["check"] == 2, tale.text
    about_box = [(told.what, told.profile) for told in tale.told if "box" in told.names]
    assert about_box == [("opened", "bolt")], tale.text


@tells("set_to_always")
def test_a_machine_that_was_down_and_is_set_to_always_between_two_runs_is_one_message(tale: Tale) -> None:
    assert tale.notes["told"] == []
    assert tale.names == [("opened", ["box"]), SENTINEL], tale.text


@tells("renamed_and_killed")
def test_a_renamed_server_is_told_after_a_kill_and_without_the_old_row(tale: Tale) -> None:
    assert tale.names == [("opened", ["new"]), SENTINEL], tale.text


@needs_faketime
@tells("only_a_hook")
def test_with_nothing_but_a_hook_one_message_names_the_servers_four_minutes_after_a_power_cut(tale: Tale) -> None:
    assert tale.names == [("opened", ["db", "nas", "web"])], tale.text
    # `date` cuts the second; a busy machine may be slow on a fast clock.
    assert 239 <= tale.notes["silent_s"] < 480, tale.text


@needs_faketime
@tells("service_down")
def test_a_message_about_an_open_incident_is_delivered_after_31_minutes_without_the_service(tale: Tale) -> None:
    assert tale.notes["runs"], tale.text
    assert tale.distinct_names == [("opened", ["box"])], f"the command\n{tale.text}"
    assert tale.notes["posted"][:1] == [["opened", ["box"]]], f"the web hook\n{tale.text}"


@needs_faketime
@tells("key_revoked")
def test_a_revoked_key_is_one_message_about_envwatch_and_one_more_once_the_key_works_again(tale: Tale) -> None:
    assert tale.notes["ended_with"] is None, f"ended with {Exit.AUTHENTICATION}?\n{tale.text}"
    assert tale.distinct_names == [("opened", []), ("resolved", [])], tale.text
    assert len({told.incident for told in tale.told}) == 1, tale.text
    # The time counts from the last listing, which may be older by the interval of 60 s and the jitter.
    assert tale.told[0].at - tale.notes["revoked_at"] >= 13 * MINUTE, tale.text


@needs_faketime
@tells("power_cut")
def test_a_power_cut_of_40_machines_is_one_message_at_the_intervals_of_real_machines(tale: Tale) -> None:
    assert tale.names == [("opened", tale.notes["dark"]), SENTINEL], tale.text


# -- any kills ---------------------------------------------------------------------------------------------------------
_DESKS = 4
_HOOKS = {"after": f"sleep 0.4; {APPENDS}", "before": f"{APPENDS}; sleep 0.4"}
"""Kills meet a try before and after the delivery."""


def test_kills_lose_no_opening_repeat_no_id_and_send_no_end_alone(tmp_path: Path) -> None:
    """Kill `watch` and `serve` around losses and deliveries: 40 times in `thorough`, 8 times in `.ci/run`."""
    kills = max(examples(10), 2)
    homes = [tmp_path / str(number) for number in range(_DESKS)]
    with ThreadPoolExecutor(_DESKS) as threads:
        told = [each for desk in threads.map(partial(_killed, kills), homes, range(_DESKS)) for each in desk]
    assert len(told) == _DESKS * len(_HOOKS)
    repeated = 0
    for hook in told:
        opened, ids = defaultdict[str, set[str]](set), defaultdict[str, list[str]](list)
        for each in hook:
            ids[each.incident].append(each.what)
            for name in each.names:
                opened[name].add(each.incident)
        assert opened.keys() == {f"box-{number}" for number in range(kills)}
        assert {name: found for name, found in opened.items() if len(found) > 1} == {}, "two ids"
        for words in ids.values():
            assert words[0] == "opened", "an end alone"
            assert "opened" not in words[words.index("resolved") :] if "resolved" in words else True
            repeated += len(words) - len(set(words))
    print(f"{_DESKS * kills} kills, {sum(map(len, told))} messages, {repeated} of them repeated")  # noqa: T201


def _killed(kills: int, home: Path, seed: int) -> list[list[Told]]:
    """Return what each hook was told; a machine is lost in each run, and each second one comes back."""
    home.mkdir()
    dice = random.Random(seed)
    names = [f"box-{number}" for number in range(kills)]
    site = Site(*names, "steady")
    settings = 'interval = "1s"\nalert_after = "2s"'
    with Desk(home, {"work": site}, settings, hooks=_HOOKS, is_served=seed % 2 == 1) as desk:

        def heard(what: str) -> bool:
            ways = ({name for each in desk.told(hook) if each.what == what for name in each.names} for hook in _HOOKS)
            return all(found >= {*(names if what == "opened" else names[::2])} for found in ways)

        for number, name in enumerate(names):
            with desk.watching() as watch:
                site.close(name)
                time.sleep(dice.uniform(0.0, 6.0))
                if number % 2:
                    site.restore(names[number - 1])
                watch.end(signal.SIGKILL)
        with desk.watching():
            desk.wait_until(lambda: heard("opened"), "the openings")
            desk.wait_until(lambda: heard("resolved"), "the ends", at_most_s=120)
            assert heard("resolved"), desk.tale().text
        return [desk.told(hook) for hook in _HOOKS]
