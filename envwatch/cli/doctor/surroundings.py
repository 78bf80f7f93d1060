"""Measures this machine for `envwatch doctor`: terminal, tmux, state folder, hooks. Judges, runs and leaves nothing."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.hooks.command import HookCommand
from envwatch.hooks.hook import deliveries_of, ping_of
from envwatch.hooks.webhook import Webhook
from envwatch.sources.letta.network_settings import SettingsError
from envwatch.storage.redactor import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from envwatch.config.settings import Settings
    from envwatch.hooks.delivery import Delivery

TMUX_PATIENCE_S: Final = 2.0

_SAMPLE: Final = bytes(4096)
"""As much as a state file has: a full disk takes an empty one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalFacts:
    """The terminal that the dashboard would draw on."""

    term: str
    """The variable TERM; empty if it is not set."""
    columns: int
    lines: int
    encoding: str
    """Of standard output, as Python names it."""
    colours: str
    """How many the terminal has, as far as the variables show it, for people."""


@dataclass(frozen=True, slots=True)
class TmuxFacts:
    """The settings of tmux that decide whether a copied text reaches the clipboard; empty for an unknown one."""

    set_clipboard: str
    allow_passthrough: str


def terminal_facts(environ: Mapping[str, str]) -> TerminalFacts | None:
    """Return what is known of the terminal, None without one: neither of the standard streams need be one."""
    for stream in (sys.__stdout__, sys.__stdin__, sys.__stderr__):
        if stream is not None and stream.isatty():
            size = os.get_terminal_size(stream.fileno())
            out = sys.__stdout__
            return TerminalFacts(
                term=environ.get("TERM", ""),
                columns=size.columns,
                lines=size.lines,
                encoding=out.encoding if out is not None else "",
                colours=_colours(environ),
            )
    return None


def _colours(environ: Mapping[str, str]) -> str:
    if environ.get("NO_COLOR"):
        return "no colours (NO_COLOR)"
    if environ.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return "16 million colours"
    return "256 colours" if "256color" in environ.get("TERM", "") else "16 colours"


def tmux_facts(environ: Mapping[str, str]) -> TmuxFacts:
    """Return the settings of the tmux around this program.

    Raises:
        OSError: if it does not answer in time.
    """
    program = shutil.which("tmux", path=environ.get("PATH"))
    if program is None:
        raise FileNotFoundError(errno.ENOENT, "there is no program tmux")
    try:
        done = subprocess.run(  # noqa: S603 - the words are fixed
            [program, "display-message", "-p", "#{set-clipboard} #{allow-passthrough}"],
            env={name: value for name, value in environ.items() if name != KEY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TMUX_PATIENCE_S,
            check=True,
        )
    except subprocess.SubprocessError:
        raise OSError(errno.EIO, "tmux does not give its settings") from None
    set_clipboard, _, allow_passthrough = done.stdout.decode(errors="replace").strip().partition(" ")
    return TmuxFacts(set_clipboard, allow_passthrough)


def write_problem(folder: Path) -> OSError | None:
    """Return what keeps files from being written in a folder, or a missing folder from being made; None if nothing."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_SAMPLE)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return _making_problem(folder)
    except OSError as error:
        return error
    return None


def _making_problem(folder: Path) -> OSError | None:
    """Return what keeps a missing folder from being made, by what is known of the nearest one that exists."""
    nearest = next(path for path in folder.parents if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return None
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES))


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


def ping_problems(all_settings: Iterable[Settings], environ: Mapping[str, str]) -> list[str]:
    """Return what keeps dead man's switches from being used, for each profile that has such a problem."""
    problems = []
    for settings in all_settings:
        try:
            ping_of(settings.ping_url, settings.ping_url_env, environ)
        except SettingsError as error:
            problems.append(f"profile {settings.profile}: {error}")
    return problems


def _problems_of(delivery: Delivery, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(delivery, HookCommand):
        program = delivery.arguments[0]
        if shutil.which(program, path=environ.get("PATH")) is None:
            yield f"there is no program {program} that can be run", "install it, or `chmod +x` it, or correct the path"
    elif isinstance(delivery, Webhook):
        nearest = delivery.url if delivery.proxy is None else delivery.proxy.url
        try:
            socket.getaddrinfo(nearest.host, None)
        except (OSError, UnicodeError):
            yield f"no address is known for {nearest.host}", "correct the address, or look at DNS"
