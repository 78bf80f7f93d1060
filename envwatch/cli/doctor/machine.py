"""The checks of this machine.

Checks leave nothing on the machine and run no hook.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TextIO

from envwatch.cli.doctor.check import Check, Finding, failure, ok, read, skipped, unused, warning
from envwatch.cli.streams import is_utf8
from envwatch.config.hooks import deliveries_of, ping_of
from envwatch.config.settings import Settings, all_settings_of, config_path
from envwatch.config.values import ConfigError
from envwatch.history.inspection import Inspection, inspected
from envwatch.history.stored import history_root
from envwatch.model.text import counted
from envwatch.redactor import KEY
from envwatch.sources.letta.network_settings import SettingsError
from envwatch.storage.state_file import ACKNOWLEDGEMENTS, REMEMBERED, SILENCES, WORDS
from envwatch.watch.profiles import state_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SMALLEST: Final = (40, 8)
"""Columns and lines that the dashboard needs."""
TMUX_PATIENCE_S: Final = 2.0

_SAMPLE: Final = bytes(4096)
"""A state file's size: a full disk still takes an empty file."""

STATE_FILES: Final = {
    "state": REMEMBERED,
    "acknowledged": ACKNOWLEDGEMENTS,
    "silences": SILENCES,
    "alerts-by-hand": WORDS,
}
"""By the name for `bootstrap.state_file`."""


@dataclass(slots=True)
class MachineContext:
    """The subject of this machine's checks."""

    options: Mapping[str, Any]
    """By name; only given options."""
    environ: Mapping[str, str]
    all_settings: Sequence[Settings] = ()
    streams: Sequence[TextIO | None] = field(default_factory=lambda: (sys.__stdout__, sys.__stdin__, sys.__stderr__))
    """Standard output, input and error; the first terminal is measured."""


async def check_config(machine: MachineContext) -> Finding:
    """Check the settings, and report the origins."""

    def find() -> tuple[Path, Sequence[Settings]]:
        path, _ = config_path(machine.options.get("config"), machine.environ)
        return path, all_settings_of(machine.options, machine.environ)

    try:
        path, all_settings = await read(find)
    except ConfigError as error:
        fix = "correct the setting; `envwatch config validate` lists every mistake"
        others = " (the first of several mistakes)" if len(error.lines) > 1 else ""
        return failure(f"{error.lines[0]}{others}", fix, mistakes=list(error.lines))
    machine.all_settings = all_settings
    profiles = {each.profile: {name: str(origin) for name, origin in each.origins.items()} for each in all_settings}
    origins = [origin for each in profiles.values() for name, origin in each.items() if name != "profile"]
    kinds = Counter(
        "variables" if origin.startswith("ENVWATCH_") else "options" if origin.startswith("--") else "the file"
        for origin in origins
    )
    is_read = all_settings[0].document is not None
    named = [
        f"{each.profile} ({each.origin('profile')})" for each in all_settings if each.origin("profile") != "default"
    ]
    order = filter(kinds.__getitem__, ("variables", "options", "the file"))
    counts = [f"{counted(kinds[kind], 'setting')} from {kind}" for kind in order]
    parts = [str(path) if is_read else "no file, and none is needed", *(f"profile {one}" for one in named), *counts]
    return ok("; ".join(parts), file=str(path), is_read=is_read, origins=profiles)


async def check_terminal(machine: MachineContext) -> Finding:
    """Check whether and how the dashboard can draw."""
    stream = next((each for each in machine.streams if each is not None and each.isatty()), None)
    if stream is None:
        return skipped("no terminal; the dashboard needs a terminal")
    size, out = os.get_terminal_size(stream.fileno()), machine.streams[0]
    term, encoding = machine.environ.get("TERM", ""), out.encoding if out is not None else ""
    colours = _colours(machine.environ)
    data: dict[str, object] = {
        "term": term,
        "columns": size.columns,
        "lines": size.lines,
        "encoding": encoding,
        "colours": colours,
    }
    if term in {"", "dumb"}:
        fix = "`export TERM=xterm-256color`, or your terminal's type; `envwatch list` needs no TERM"
        return failure(f"TERM is {term or 'not set'}: the dashboard cannot move the cursor", fix, **data)
    summary = f"{term}, {size.columns}x{size.lines}, {encoding.upper()}, {colours}"
    problems, fixes = [], []
    if size.columns < SMALLEST[0] or size.lines < SMALLEST[1]:
        problems.append("too small for the dashboard")
        fixes.append(f"make the window {SMALLEST[0]}x{SMALLEST[1]} or larger")
    if out is None or not is_utf8(out, machine.environ):
        problems.append("not UTF-8, so ASCII is drawn")
        fixes.append("set LC_ALL=C.UTF-8")
    if problems:
        return warning(f"{summary}: {', '.join(problems)}", "; ".join(fixes), **data)
    return ok(summary, **data)


def _colours(environ: Mapping[str, str]) -> str:
    if environ.get("NO_COLOR"):
        return "no colours (NO_COLOR)"
    if environ.get("COLORTERM", "").lower() in {"truecolor", "24bit"}:
        return "16 million colours"
    return "256 colours" if "256color" in environ.get("TERM", "") else "16 colours"


async def check_tmux(machine: MachineContext) -> Finding:
    """Check whether copied text gets through tmux: with `external`, tmux ignores programs inside."""
    if not machine.environ.get("TMUX"):
        return unused("not used here")
    try:
        set_clipboard, allow_passthrough = await read(lambda: _tmux_settings(machine.environ))
    except OSError as error:
        return skipped(f"no settings known: {error.strerror}")
    data: dict[str, object] = {"set_clipboard": set_clipboard, "allow_passthrough": allow_passthrough}
    if set_clipboard == "on":
        return ok("set-clipboard on: copying works", **data)
    if allow_passthrough in {"on", "all"}:
        return ok(f"allow-passthrough {allow_passthrough}: copying works", **data)
    fix = "`tmux set -s set-clipboard on`, and the same in ~/.tmux.conf"
    return warning(f"set-clipboard {set_clipboard or 'unknown'}: copied text does not get through", fix, **data)


def _tmux_settings(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return `set-clipboard` and `allow-passthrough`, empty if unknown; raise `OSError` without tmux or an answer."""
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
    return set_clipboard, allow_passthrough


async def check_state(_: MachineContext) -> Finding:
    """Check that the state folder is usable, and no file is damaged."""
    folder = state_file("state").parent

    def find() -> tuple[OSError | None, list[Path]]:
        damaged = [path for name, content in STATE_FILES.items() if content.is_damaged(path := state_file(name))]
        return _write_problem(folder), damaged

    problem, damaged = await read(find)
    data = {"folder": str(folder)}
    if problem is not None:
        fix = f"make {folder} a folder of yours with free space: `mkdir -p`, `chmod 700`; XDG_STATE_HOME names another"
        return failure(f"{folder} cannot be written: {problem.strerror}", fix, **data)
    if damaged:
        names = ", ".join(path.name for path in damaged)
        fix = "nothing: the dashboard sets the file aside, and begins a new file"
        return warning(
            f"{folder}: {names} is damaged or unreadable", fix, **data, damaged=[str(path) for path in damaged]
        )
    return ok(str(folder), **data)


def _write_problem(folder: Path) -> OSError | None:
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
    nearest = next(path for path in folder.parents if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return None
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES))


async def check_history(_: MachineContext) -> Finding:
    """Check the folder of all histories, which need not exist."""
    folder = history_root(state_file("state").parent)
    try:
        histories = await read(lambda: inspected(folder))
    except TimeoutError:  # an OSError too
        raise
    except OSError as error:
        return warning(f"{folder} cannot be read: {error.strerror}", "check its owner and mode, or delete it")
    found = [each._asdict() | {"problems": [*each.problems], "newer": [*each.newer]} for each in histories]
    data: dict[str, object] = {"folder": str(folder), "histories": found}
    if problems := [f"{each.profile}@{each.host}: {what}" for each in histories for what in each.problems]:
        fix = f"nothing: recording goes on, and the other days are shown; you may delete the files set aside ({folder})"
        return warning("; ".join(problems), fix, **data)
    if newer := [name for each in histories for name in each.newer]:
        fix = "update this envwatch: it cannot show these days, nor record into these days"
        return warning(f"recorded by a newer envwatch: {', '.join(newer)}", fix, **data)
    if not histories:
        return unused("no history yet", **data)
    return ok("; ".join(map(_history_text, histories)), **data)


def _history_text(history: Inspection) -> str:
    process = "an unknown process" if history.recorder == 0 else f"process {history.recorder}"
    recorded = "" if history.recorder is None else f", recorded by {process}"
    size = f"{history.bytes / (1 << 20):,.1f} MB"
    return f"{history.profile}@{history.host}: {counted(history.days, 'day')}, {size}{recorded}"


async def check_hooks(machine: MachineContext) -> Finding:
    """Check variables, packages, programs and host names of hooks."""
    if not machine.all_settings:
        return skipped("not checked, because of config")
    settings = machine.all_settings[0]
    if not settings.hooks:
        return unused("none are configured", hooks=0)
    problems = await read(lambda: list(_hook_problems(settings, machine.environ)))
    data: dict[str, object] = {"hooks": len(settings.hooks), "problems": problems}
    if not problems:
        return ok(f"{counted(len(settings.hooks), 'hook')} can run; `envwatch hooks test` tries them", **data)
    summary = "; ".join(f"hook {each['hook']}: {each['what']}" for each in problems)
    return failure(summary, "; ".join(dict.fromkeys(each["fix"] for each in problems)), **data)


def _hook_problems(settings: Settings, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for hook in settings.hooks:
        try:
            delivery = deliveries_of([hook], environ, settings.key_variables)[hook.name]
        except SettingsError as error:
            what = str(error).removeprefix(f"hook {hook.name}: ")
            yield {"hook": hook.name, "what": what, "fix": f"correct it: {settings.origin(f'hooks.{hook.name}')}"}
            continue
        for what, fix in delivery.problems():
            yield {"hook": hook.name, "what": what, "fix": fix}


async def check_ping(machine: MachineContext) -> Finding:
    """Check all profiles' dead man's switches, without a ping."""
    if not machine.all_settings:
        return skipped("not checked, because of config")
    problems = []
    for settings in machine.all_settings:
        try:
            ping_of(settings.ping_url, settings.ping_url_env, machine.environ)
        except SettingsError as error:
            problems.append(f"profile {settings.profile}: {error}")
    count = sum(bool(each.ping_url or each.ping_url_env) for each in machine.all_settings)
    data: dict[str, object] = {"pings": count, "problems": problems}
    if problems:
        return failure("; ".join(problems), "set the variable, or correct the address", **data)
    summary = f"{counted(count, 'profile')} with a dead man's switch"
    return ok(summary, **data) if count else unused(summary, **data)


CONFIG: Final = (Check("config", check_config),)
"""All checks depend on this check."""

MACHINE: Final = (
    Check("terminal", check_terminal),
    Check("tmux", check_tmux),
    Check("state", check_state),
    Check("history", check_history),
    Check("hooks", check_hooks),
    Check("ping", check_ping),
)
