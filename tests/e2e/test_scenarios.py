"""The demo's scenarios in a real terminal: the pane's advice helps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import ENTER, Terminal, environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_in_the_outage_the_key_in_the_pane_brings_the_pod_back(tmp_path: Path) -> None:
    # The seed's fleet loses a pod early, and the pod returns fast.
    arguments = ("demo", "--scenario", "outage", "--seed", "262", "--no-history", "--interval", "1s")
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=80, lines=24) as terminal:
        terminal.wait_for("[0-9]+ went offline together.*: all pod p-7")
        terminal.press("n")
        terminal.press(ENTER)
        terminal.wait_for(r"letta server .*--computer-name=")
        terminal.wait_for(r"R starts the listener from here \(demo\)")
        terminal.press("R")
        terminal.wait_for("letta-server on .* and [0-9]+ more")
        terminal.press(ENTER)
        terminal.wait_for("letta-server: done, with ")
        terminal.wait_for("● [0-9]+ back +[0-9]+s BACK pod p-7: ")
        terminal.wait_until(lambda: " off" not in terminal.display[0], "no loss in the header")
        terminal.press("qq")
        assert terminal.wait_for_end() == 0


TAKEN = '[keys]\n"app.bell" = ["R"]\n[commands.mine]\nkey = "f2"\nrun = ["true"]\n'


@pytest.mark.parametrize(
    ("own", "key", "typed"),
    [pytest.param("", "R", "R", marks=pytest.mark.slow), (TAKEN, "f3", "\x1bOR")],
    ids=["R", "f3"],
)
def test_the_key_that_starts_a_listener_is_one_that_the_user_has_given_to_nothing(
    own: str, key: str, typed: str, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text(own)
    environ = environment(tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))
    arguments = ("demo", "--scenario", "outage", "--no-history", "--interval", "1s")
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=120, lines=36, environ=environ) as terminal:
        terminal.wait_for("● 33 on ")
        terminal.wait_for("^── 33 online · 7 old ")
        terminal.press("G", "x")
        terminal.wait_for("^ ►▾ offline for over 24 h")
        terminal.press("G")
        terminal.wait_for("^ ►○ off ")
        terminal.wait_for(f"{key} starts the listener from here")
        terminal.press(typed)
        terminal.wait_for("letta-server: done, with ")
        terminal.wait_for("● 34 on ")
        terminal.wait_for("^── 34 online · 6 old ")


@pytest.mark.parametrize("scenario", ["calm", "night"])
def test_the_other_scenarios_start_with_nothing_wrong(scenario: str, tmp_path: Path) -> None:
    arguments = ("demo", "--scenario", scenario, "--no-history")
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=80, lines=24) as terminal:
        terminal.wait_for("● 33 on ")
        assert re.match("── 33 online · 7 old ─", terminal.display[1]), "the block has no line"
        assert "off" not in terminal.display[0]
