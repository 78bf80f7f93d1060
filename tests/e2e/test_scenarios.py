"""The scenarios of the demo in a real terminal: what the pane says helps does help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import ENTER, Terminal, environment

if TYPE_CHECKING:
    from pathlib import Path


def test_in_the_outage_the_key_in_the_pane_brings_the_pod_back(tmp_path: Path) -> None:
    arguments = ("demo", "--scenario", "outage", "--no-history", "--interval", "1s")
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=80, lines=24) as terminal:
        terminal.wait_for("[0-9]+ went offline together: all pod p-6")
        terminal.press("n")
        terminal.press(ENTER)
        terminal.wait_for(r"letta server .*--computer-name=")
        terminal.wait_for("R does that from here: this is a demo")
        terminal.press("R")
        terminal.wait_for("letta-server: done, with ")
        terminal.wait_for("○ 0 off")
        terminal.press("qq")
        assert terminal.wait_for_end() == 0


def test_the_key_is_another_one_where_the_user_has_given_it_to_something(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[keys]\n"app.bell" = ["R"]\n[commands.mine]\nkey = "f2"\nrun = ["true"]\n')
    environ = environment(tmp_path, ENVWATCH_CONFIG=str(tmp_path / "config.toml"))
    arguments = ("demo", "--scenario", "outage", "--no-history", "--interval", "1s")
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=120, lines=36, environ=environ) as terminal:
        terminal.wait_for("[0-9]+ went offline together: all pod p-6")
        terminal.press("n")
        terminal.wait_for("f3 does that from here: this is a")


@pytest.mark.parametrize("scenario", ["calm", "night"])
def test_the_other_scenarios_start_with_nothing_wrong(scenario: str, tmp_path: Path) -> None:
    arguments = ("demo", "--scenario", scenario, "--no-history")
    with Terminal.of_envwatch(*arguments, home=tmp_path, columns=80, lines=24) as terminal:
        terminal.wait_for(r"● 33 on  ○ 0 off \+7 old")
