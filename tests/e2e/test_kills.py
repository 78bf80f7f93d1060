"""`kill -9` around losses and deliveries: no missed loss, no second id, no end alone.

Forty kills in the profile `thorough`, eight in `.ci/run`.
"""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.alert_world import APPENDS, Desk, Site
from support.budget import examples

if TYPE_CHECKING:
    from pathlib import Path

    from support.alert_world import Told

_DESKS = 4
_HOOKS = {"after": f"sleep 0.4; {APPENDS}", "before": f"{APPENDS}; sleep 0.4"}
"""Kills meet a try before and after the delivery."""


@pytest.mark.slow
def test_kills_lose_no_opening_repeat_no_id_and_send_no_end_alone(tmp_path: Path) -> None:
    kills = examples(10)
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
    with Desk(home, {"work": site}, settings, speed=1.0, hooks=_HOOKS) as desk:

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
            assert heard("resolved"), desk.report()
        return [desk.told(hook) for hook in _HOOKS]
