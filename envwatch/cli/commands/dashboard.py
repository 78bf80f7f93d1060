"""The dashboard on the selected profiles: what runs without a command."""

from __future__ import annotations

import os
import sys
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from envwatch import __version__
from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import (
    client_for,
    host_of,
    names_of,
    poll_log_for,
    profiles_for,
    report_crash,
    state_file,
)
from envwatch.cli.screen_settings import check_screen
from envwatch.cli.streams import is_utf8, stdout
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.sources.session import Target
    from envwatch.storage.log import PollLog
    from envwatch.tui.terminal.app import TerminalApp


def run(options: Options) -> int:
    """Poll the selected profiles and show the dashboard."""
    check_terminal()
    from envwatch.config.credentials import typed_key

    return run_dashboard(profiles_for(options, typed_key), options)


def run_dashboard(profiles: Sequence[tuple[Credentials, Settings]], options: Options) -> int:
    """Show the dashboard.

    Args:
        profiles: what to poll; the first one's settings decide how the screen looks.
        options: of the command line.
    """
    import asyncio

    return asyncio.run(_run(profiles, options))


async def _run(profiles: Sequence[tuple[Credentials, Settings]], options: Options) -> int:
    import asyncio

    from envwatch.cli.standard_error import standard_error_to
    from envwatch.sources.session import Session
    from envwatch.storage.export import export_here

    looks = profiles[0][1]
    notices: asyncio.Queue[str] = asyncio.Queue()
    notify = _notifier(notices)
    poll_log = poll_log_for(options, notify)
    targets = dict(zip(names_of(profiles), [_target(*profile) for profile in profiles], strict=True))
    for target in targets.values():
        pace = f"{target.host} every {target.poller.interval.total_seconds():g} s"
        poll_log.note(f"envwatch {__version__} asks {pace}, with the key from {target.key_origin}")
    async with AsyncExitStack() as stack:
        stack.enter_context(standard_error_to(poll_log.note_stray_line))
        session = await stack.enter_async_context(
            Session(targets, poll_log.observe, gc_tuning.StartAfterFirstOutcome())
        )
        # The first requests are under way while Textual is imported, which takes longer.
        await asyncio.to_thread(import_module, "envwatch.tui.app")
        check_screen(looks)

        def warn(text: str) -> None:
            poll_log.note(text)
            notify(text)

        from envwatch.tui.app import EnvwatchApp
        from envwatch.tui.keymap import keymap_of

        app = EnvwatchApp(
            targets=targets,
            outcomes=session,
            theme=looks.theme,
            sort=looks.sort,
            columns=looks.columns,
            filter_text=looks.filter,
            keymap=keymap_of(looks.keys),
            export=export_here,
            notices=notices,
            rings=looks.bell,
            notify=looks.notify,
            ascii_only=options.ascii or not is_utf8(stdout()),
            **_saved_state(options, warn, stack),
        )
        return await show(app, poll_log, mouse=not options.no_mouse)


def _target(credentials: Credentials, settings: Settings) -> Target:
    from envwatch.sources.poller import Poller
    from envwatch.sources.session import Target

    client = client_for(credentials, settings)
    poller = Poller(client, settings.limits)
    client.on_page = poller.note_pages
    return Target(
        profile=settings.profile,
        host=host_of(credentials),
        key_origin=credentials.origin,
        poller=poller,
        limits=settings.limits,
        close=client.aclose,
    )


def _saved_state(options: Options, warn: Callable[[str], None], stack: AsyncExitStack) -> dict[str, Any]:
    """Return the app's arguments that load and save state.

    Args:
        options: of the command line.
        warn: called from any thread with one line when state cannot be saved.
        stack: gets what must be closed afterwards.
    """
    from envwatch.storage.remembered import AcknowledgementsFile, RememberedFile, acknowledged

    memory = RememberedFile(state_file("state"), warn)
    stack.callback(memory.close)
    if options.command == "demo":  # its environments are other ones each time
        return {"keep": memory.keep}
    path = state_file("acknowledged")
    acknowledgements = AcknowledgementsFile(path, warn)
    stack.callback(acknowledgements.close)
    return {"keep": memory.keep, "acks": acknowledged(path), "keep_acks": acknowledgements.keep}


def _notifier(notices: asyncio.Queue[str]) -> Callable[[str], None]:
    """Return a function that shows a line on the screen; it may be called from any thread."""
    import asyncio

    loop = asyncio.get_running_loop()

    def notify(text: str) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the screen with it
            loop.call_soon_threadsafe(notices.put_nowait, redactor()(text))

    return notify


async def show(app: TerminalApp, poll_log: PollLog, *, mouse: bool = True) -> int:
    """Run an app until it ends or crashes, give the terminal back, and return the exit code."""
    import asyncio

    def log_error(_: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        poll_log.note(context["message"]) if error is None else poll_log.write_crash(error)

    # By default asyncio prints errors of tasks that nothing awaits to standard error, which is the screen.
    asyncio.get_running_loop().set_exception_handler(log_error)
    await app.run_async(mouse=mouse)
    if app.crash is not None:
        return report_crash(app.crash, poll_log)
    code = app.return_code or Exit.FINE
    poll_log.note(f"ended with exit code {code}")
    poll_log.close()
    return code


def check_terminal() -> None:
    """Stop where nothing can be drawn. Textual reads standard input and draws on standard error."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    problem = ""
    if not all(stream is not None and stream.isatty() for stream in streams):
        problem = "the dashboard needs a terminal"
    elif (terminal := os.environ.get("TERM", "")) in {"", "dumb"}:
        problem = f"TERM is {terminal or 'not set'}, and the dashboard needs a terminal that can move its cursor"
    if problem:
        raise StopError(Exit.USAGE, f"{problem}; `envwatch list` prints the environments once")
