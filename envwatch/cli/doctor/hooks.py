"""Looks whether the configured hooks can run on this machine, without running one."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING, NamedTuple

from envwatch.hooks.command import Command
from envwatch.hooks.hook import deliveries_of
from envwatch.hooks.webhook import Webhook
from envwatch.sources.letta.network_settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.config.settings import Settings
    from envwatch.hooks.delivery import Delivery


class HookProblem(NamedTuple):
    """What keeps one hook from running, and what to do about it."""

    hook: str
    what: str
    fix: str


def hook_problems(settings: Settings, environ: Mapping[str, str]) -> list[HookProblem]:
    """Return what keeps hooks from running: variables, packages, programs, names of hosts. DNS may take its time."""
    problems = []
    for hook in settings.hooks:
        try:
            delivery = deliveries_of([hook], environ, settings.key_variables)[hook.name]
        except SettingsError as error:
            what = str(error).removeprefix(f"hook {hook.name}: ")
            problems.append(HookProblem(hook.name, what, f"mend it: {settings.origin(f'hooks.{hook.name}')}"))
            continue
        problems += (HookProblem(hook.name, what, fix) for what, fix in _problems_of(delivery, environ))
    return problems


def _problems_of(delivery: Delivery, environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    if isinstance(delivery, Command):
        program = delivery.arguments[0]
        if shutil.which(program, path=environ.get("PATH")) is None:
            yield f"there is no program {program} that can be run", "install it, or `chmod +x` it, or correct the path"
    elif isinstance(delivery, Webhook):
        nearest = delivery.url if delivery.proxy is None else delivery.proxy.url
        try:
            socket.getaddrinfo(nearest.host, None)
        except (OSError, UnicodeError):
            yield f"no address is known for {nearest.host}", "correct the address, or look at DNS"
