"""`envwatch dashboard`: the dashboard, the default command."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import AsyncExitStack, closing, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from envwatch.cli.arguments import DASHBOARD_OPTIONS, Exit, Options, Parser, StopError
from envwatch.cli.bootstrap import (
    credentials_for,
    poll_log_for,
    profiles_for,
    recorded_moment,
    report_crash,
    user_name,
)
from envwatch.cli.streams import is_utf8, print_error, standard_error_to, stdout
from envwatch.config.values import ConfigError
from envwatch.model.redactor import redactor
from envwatch.model.text import SafeText, clean, did_you_mean, wrapped
from envwatch.watch import gc_tuning
from envwatch.watch.clients import client_for
from envwatch.watch.profiles import server_host, state_file

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.screen.app import EnvwatchApp
    from envwatch.screen.arguments import Inputs, Preferences
    from envwatch.screen.terminal.app import TerminalApp
    from envwatch.views.command_context import CommandSettings
    from envwatch.watch.log import PollLog
    from envwatch.watch.monitoring import DemoHistory
    from envwatch.watch.profiles import Profiles

T = TypeVar("T")

_KEY_TRIES: Final = 3

TURN_S: Final = 0.001
"""Longest turn of a thread, a fifth of Python's default: history threads must not delay keys."""


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Watch your machines live, losses first. `envwatch` without a command is the same.\n"
        "Press ? for the keys, and q to quit."
    )
    parser.examples = {
        "envwatch": "all your machines",
        "envwatch --filter 'name:web-*'": "some of them; / changes the filter",
        "envwatch --profile work,home": "two profiles on one screen",
    }
    parser.add_shared(*DASHBOARD_OPTIONS)


def run(options: Options) -> int:
    """Show the dashboard."""
    require_terminal()
    import asyncio

    profiles = profiles_for(options, credentials_at_terminal)
    at = recorded_moment(profiles, options, "at")
    return asyncio.run(run_dashboard(profiles, options, at=at))


def credentials_at_terminal(settings: Settings) -> Credentials:
    """Return a profile's key and address; ask for a missing key.

    The server must accept a typed key: a dashboard with a refused key would show nothing.

    Raises:
        StopError: no key is usable, or `_KEY_TRIES` typed keys were refused.
    """
    from envwatch.config.credentials import HELP_WITHOUT_KEY, KEYS_PAGE, is_usable, typed_key

    asked = 0

    def reject(why: str) -> None:
        if asked >= _KEY_TRIES:
            raise StopError(Exit.AUTHENTICATION, f"{why} envwatch asks for no other key: make a new key at {KEYS_PAGE}")
        for line in wrapped(clean(f"envwatch: {why}"), shutil.get_terminal_size().columns):
            print_error(line)

    def ask() -> str:
        nonlocal asked
        if not asked:
            print_error("\n".join(HELP_WITHOUT_KEY))
        while True:
            asked += 1
            text = typed_key().strip()
            if not text or is_usable(text):
                return text
            reject("this is no API key: a key has 8 to 512 characters without spaces")

    while True:
        asked_before = asked
        credentials = credentials_for(settings, ask)
        if asked == asked_before or (refusal := _refusal(credentials, settings)) is None:
            return credentials
        reject(refusal)


def _refusal(credentials: Credentials, settings: Settings) -> SafeText | None:
    import asyncio
    from dataclasses import replace

    async def ask() -> SafeText | None:
        async with client_for(credentials, replace(settings, limits=replace(settings.limits, page_size=1))) as client:
            return await client.refusal()

    print_error(f"trying the key at {server_host(credentials)}")
    return asyncio.run(ask())


async def run_dashboard(
    profiles: Profiles,
    options: Options,
    demo: DemoHistory | None = None,
    hints_key: str = "",
    at: datetime | None = None,
) -> int:
    """Show the dashboard, at first `at` a past moment; `hints_key` closes the demo's hints."""
    import asyncio

    from envwatch.model.clock import WallMs
    from envwatch.watch.monitoring import monitoring

    sys.setswitchinterval(TURN_S)
    gc_tuning.share_heap()
    display_settings = profiles.first
    notices: asyncio.Queue[str] = asyncio.Queue()
    show_notice = _thread_safe(notices.put_nowait)
    readable: asyncio.Queue[SafeText] = asyncio.Queue()
    poll_log = poll_log_for(options, lambda text: show_notice(redactor()(text)))
    async with AsyncExitStack() as stack:
        stack.enter_context(closing(poll_log))
        stack.enter_context(standard_error_to(poll_log.note_stray_line))
        watched = await stack.enter_async_context(
            monitoring(
                profiles,
                poll_log,
                has_screen=True,
                is_recorded=not options.no_history,
                on_ready=_thread_safe(readable.put_nowait),
                demo=demo,
            )
        )
        # The first requests run during Textual's slower import.
        await asyncio.to_thread(import_module, "envwatch.screen.app")
        check_screen(display_settings)

        from envwatch.files import export_here
        from envwatch.screen.arguments import Inputs
        from envwatch.views.command_context import CommandSettings
        from envwatch.watch.state_file import REMEMBERED, StateFile, remembered_filters

        memory = StateFile(REMEMBERED, state_file("state"), poll_log.warn)
        inputs = Inputs(
            watch=watched.watch,
            export=export_here,
            keep=memory.keep,
            filters=remembered_filters(state_file("state")),
            user=user_name(),
            notices=notices,
            pasts=watched.pasts,
            readable=readable,
            begin_at=None if at is None else WallMs(at.timestamp() * 1000),
        )
        commands = CommandSettings(
            commands=display_settings.commands,
            secret_variables=display_settings.secret_variables,
            profiles={name: settings.profile_in_file for name, (_, settings) in profiles.items()},
        )
        app = _app(inputs, build_preferences(display_settings, options, commands), hints_key)
        with closing(memory):
            async for update in watched.watch.came():
                await app.take(update)
            return await run_app(app, poll_log, mouse=not options.no_mouse)


def _app(inputs: Inputs, preferences: Preferences, hints_key: str) -> EnvwatchApp:
    if not hints_key:
        from envwatch.screen.app import EnvwatchApp

        return EnvwatchApp(inputs, preferences)

    from envwatch.demo.story import HINTS
    from envwatch.screen.hinted_app import HintedApp

    return HintedApp(inputs, preferences, HINTS, close_key=hints_key)


def build_preferences(display_settings: Settings, options: Options, commands: CommandSettings) -> Preferences:
    """Return the settings of the screen."""
    from envwatch.screen.arguments import Preferences

    views = {
        name: view if view.sort is not None else view._replace(sort=display_settings.sort)
        for name, view in display_settings.views.items()
    }
    return Preferences(
        settings=display_settings,
        is_filter_option=bool(options.filter),
        views=views,
        keymap={
            id_: ",".join("comma" if key == "," else key for key in own) for id_, own in display_settings.keys.items()
        },
        commands=commands,
        ascii_only=options.ascii or not is_utf8(stdout()),
    )


def _thread_safe(function: Callable[[T], None]) -> Callable[[T], None]:
    import asyncio

    loop = asyncio.get_running_loop()

    def call(value: T) -> None:
        with suppress(RuntimeError):  # the loop and the screen have ended
            loop.call_soon_threadsafe(function, value)

    return call


async def run_app(app: TerminalApp, poll_log: PollLog, *, mouse: bool = True) -> int:
    """Run an app, and return the exit code."""
    import asyncio

    def log_error(_: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        poll_log.note(context["message"]) if error is None else poll_log.write_crash(error)

    # By default, asyncio prints errors of unawaited tasks to standard error, over the screen.
    asyncio.get_running_loop().set_exception_handler(log_error)
    await app.run_async(mouse=mouse)
    if app.crash is not None:
        return report_crash(app.crash, poll_log)
    code = app.return_code or Exit.FINE
    poll_log.note(f"ended with exit code {code}")
    poll_log.close()
    return code


def require_terminal() -> None:
    """Raise `StopError` without a usable terminal; Textual reads standard input and draws on standard error."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    problem = ""
    if not all(stream is not None and stream.isatty() for stream in streams):
        problem = "the dashboard needs a terminal"
    elif (terminal := os.environ.get("TERM", "")) in {"", "dumb"}:
        problem = f"TERM is {terminal or 'not set'}, and the dashboard needs a terminal that can move its cursor"
    if problem:
        raise StopError(Exit.USAGE, f"{problem}; `envwatch list` prints the machines once")


def check_screen(settings: Settings) -> None:
    """Raise `ConfigError` for `screen_mistakes`."""
    if mistakes := list(screen_mistakes(settings)):
        raise ConfigError(*mistakes)


def screen_mistakes(settings: Settings) -> Iterator[str]:
    """Yield a line for each mistake in theme, view, keys and commands."""
    if settings.origin("theme") not in {"default", "remembered"}:
        from envwatch.screen.themes import THEMES, theme_names

        if settings.theme not in theme_names():
            own = ", ".join(theme.name for theme in THEMES)
            # The message omits the value, which may be a misplaced secret.
            nearest = did_you_mean(settings.theme or "", theme_names(), similarity=0.7)
            hint = nearest or f"; it must be {own} or one of Textual's"
            yield f"{settings.origin('theme')}: there is no such theme{hint}"
    if settings.view is not None:
        from envwatch.config.settings import view_named

        try:
            view_named(settings, settings.view, settings.origin("view"))
        except ConfigError as error:
            yield from error.lines
    if settings.keys or settings.views or settings.commands:
        yield from _key_mistakes(settings)


def _key_mistakes(settings: Settings) -> Iterator[str]:
    from envwatch.screen.keymap import command_mistakes, mistakes, view_mistakes

    for id_, mistake in mistakes(settings.keys, settings.views):
        yield f"{settings.origin(f'keys.{id_}')}: keys.{id_} {mistake}"
    for name, mistake in view_mistakes(settings.views, settings.keys):
        yield f"{settings.origin(f'views.{name}')}: views.{name}.key {mistake}"
    for name, mistake in command_mistakes(settings.commands, settings.keys, settings.views):
        yield f"{settings.origin(f'commands.{name}')}: commands.{name}.key {mistake}"
