"""Findings of `doctor` about hooks that cannot run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from envwatch.cli.doctor.check import CheckStatus
from envwatch.cli.doctor.machine import MachineContext, check_hooks, check_ping
from envwatch.config.settings import Settings, all_settings_of

if TYPE_CHECKING:
    from pathlib import Path


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (settings,) = all_settings_of({"config": str(path)}, {})
    return settings


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ('command = ["/nonexistent/page"]', "there is no program /nonexistent/page that can be run"),
        ('url_env = "PAGER_URL"', "PAGER_URL is not set"),
        ('format = "pagerduty"\nkey_env = "PD_KEY"', "PD_KEY is not set"),
        ('url_env = "HTTP_URL"', "the address must start with https://: plain http would show your messages"),
    ],
)
async def test_each_reason_is_named_with_its_hook_and_a_fix(tmp_path: Path, hook: str, problem: str) -> None:
    settings = settings_of(tmp_path, f'[[hooks]]\nname = "pager"\n{hook}\n')
    environ = {"PATH": os.environ["PATH"], "HTTP_URL": "http://example.com/secret-part-of-it"}
    finding = await check_hooks(MachineContext({}, environ, [settings]))
    assert finding.status is CheckStatus.FAILURE
    assert finding.summary.startswith(f"hook pager: {problem}")
    assert finding.fix
    assert "secret" not in f"{finding}"


async def test_a_dead_mans_switch_is_checked_without_a_ping(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 'ping_url_env = "PING"\n')
    finding = await check_ping(MachineContext({}, {}, [settings]))
    assert (finding.status, finding.summary) == (
        CheckStatus.FAILURE,
        "profile default: ping_url_env: PING is not set",
    )
    assert finding.fix
    environ, others = {"PING": "https://hc-ping.invalid/x"}, settings_of(tmp_path, "")
    sound = await check_ping(MachineContext({}, environ, [settings, others]))
    assert (sound.status, sound.summary) == (CheckStatus.OK, "1 profile with a dead man's switch")
    assert not sound.is_unused
    assert (await check_ping(MachineContext({}, environ, [others]))).is_unused


async def test_hooks_that_can_run_are_fine(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, '[[hooks]]\ncommand = ["sh"]\n[[hooks]]\nurl = "http://localhost:1/x"\n')
    finding = await check_hooks(MachineContext({}, {"PATH": os.environ["PATH"]}, [settings]))
    assert (finding.status, finding.summary) == (CheckStatus.OK, "2 hooks can run; `envwatch hooks test` tries them")
