"""The dashboard on the configured profiles."""
# ruff: noqa: PLC0415 - imports stand where they are needed

from __future__ import annotations

import os
import shutil
import sys
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from envwatch import __version__
from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import (
    check_screen,
    client_for,
    host_of,
    poll_log_for,
    state_file,
)
from envwatch.cli.streams import is_utf8, print_error, stdout
from envwatch.storage.redactor import redactor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.model.outcome import Outcome
    from envwatch.sources.poller import Poller
    from envwatch.sources.targets import Target
    from envwatch.storage.log import PollLog
    from envwatch.tui.app import EnvwatchApp
    from envwatch.tui.terminal.app import TerminalApp


def _dashboard(watched: Sequence[tuple[Credentials, Settings]], options: Options) -> int:
    import asyncio

    return asyncio.run(_screen(watched, options))


async def _screen(watched: Sequence[tuple[Credentials, Settings]], options: Options) -> int:
    """Show the dashboard; the first polls are on their way while Textual is imported.

    Args:
        watched: the profiles. How the screen looks, the first of them says.
        options: of the command line.
    """
    import asyncio

    from envwatch.cli.standard_error import standard_error_to
    from envwatch.fleet.events import NO_PROFILE
    from envwatch.model.text import clean
    from envwatch.sources.targets import merge_streams
    from envwatch.storage.export import export_here
    from envwatch.storage.remembered import Acknowledgements, Memory, acknowledged

    looks = watched[0][1]
    notices: asyncio.Queue[str] = asyncio.Queue()
    notify = _notify_by(notices)
    poll_log = poll_log_for(options, notify)
    async with AsyncExitStack() as stack:
        stack.enter_context(standard_error_to(poll_log.note_stray_line))
        targets, streams = {}, {}
        for credentials, settings in watched:
            name = clean(settings.profile) if len(watched) > 1 else NO_PROFILE
            targets[name], outcomes = await stack.enter_async_context(_post(credentials, settings))
            streams[name] = await stack.enter_async_context(aclosing(poll_log.watching(outcomes, name)))
        app_class = await asyncio.to_thread(_app_class)
        check_screen(looks)
        gc_tuning.start()
        from envwatch.tui.keymap import keymap_of

        def note(text: str) -> None:
            poll_log.note(text)
            notify(text)

        memory = Memory(state_file("state"), note)
        stack.callback(memory.close)
        known: dict[str, Any] = {}
        if options.command != "demo":  # whose environments begin anew each time
            acks_path = state_file("acknowledged")
            acknowledgements = Acknowledgements(acks_path, note)
            stack.callback(acknowledgements.close)
            known = {"acks": acknowledged(acks_path), "keep_acks": acknowledgements.keep}
        app = app_class(
            targets=targets,
            outcomes=await stack.enter_async_context(aclosing(merge_streams(streams))),
            theme=looks.theme,
            sort=looks.sort,
            columns=looks.columns,
            filter_text=looks.filter,
            keymap=keymap_of(looks.keys),
            export=export_here,
            keep=memory.keep,
            **known,
            notices=notices,
            rings=looks.bell,
            notify=looks.notify,
            ascii_only=options.ascii or not is_utf8(stdout()),
        )
        for target in targets.values():
            asked = f"{target.host} every {target.poller.interval.total_seconds():g} s"
            poll_log.note(f"envwatch {__version__} asks {asked}, with the key from {target.key_origin}")
        return await show(app, poll_log, mouse=not options.no_mouse)


def _notify_by(notices: asyncio.Queue[str]) -> Callable[[str], None]:
    """Return a function that puts a line onto the screen, from whatever thread."""
    import asyncio

    loop = asyncio.get_running_loop()

    def notify(text: str) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the screen with it
            loop.call_soon_threadsafe(notices.put_nowait, redactor()(text))

    return notify


@asynccontextmanager
async def _post(credentials: Credentials, settings: Settings) -> AsyncIterator[tuple[Target, AsyncIterator[Outcome]]]:
    """Begin to poll under one profile."""
    from envwatch.sources.poller import Poller
    from envwatch.sources.targets import Target

    def note_pages(pages: int) -> None:
        poller.pages_read = pages

    async with client_for(credentials, settings, on_page=note_pages) as client:
        poller = Poller(client, settings.limits)
        target = Target(
            profile=settings.profile,
            host=host_of(credentials),
            key_origin=credentials.origin,
            poller=poller,
            limits=settings.limits,
        )
        async with polling(poller) as outcomes:
            yield target, outcomes


async def show(app: TerminalApp, poll_log: PollLog, *, mouse: bool = True) -> int:
    """Run an app to its end, whatever that is, and return the exit code; the terminal is given back by then."""
    import asyncio

    def note(_: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        poll_log.note(context["message"]) if error is None else poll_log.tell_crash(error)

    # Of errors that nobody waits for asyncio would tell standard error, which is the screen.
    asyncio.get_running_loop().set_exception_handler(note)
    await app.run_async(mouse=mouse)
    if app.crash is not None:
        return crashed(app.crash, poll_log)
    code = app.return_code or Exit.FINE
    poll_log.note(f"ended with exit code {code}")
    poll_log.close()
    return code


def crashed(error: BaseException, poll_log: PollLog) -> int:
    """Tell of a bug: everything to the log, one screen to standard error. Return the exit code."""
    poll_log.tell_crash(error)
    poll_log.close()
    columns, lines = shutil.get_terminal_size()
    for line in poll_log.screen_report(error, columns=columns, lines=lines):
        print_error(line)
    return Exit.FAILED


def _app_class() -> type[EnvwatchApp]:
    from envwatch.tui.app import EnvwatchApp

    return EnvwatchApp


@asynccontextmanager
async def polling(poller: Poller) -> AsyncIterator[AsyncIterator[Outcome]]:
    """Poll at once and hand out what comes; at the end, drop whatever is in flight."""
    import asyncio

    outcomes = poller.outcomes()
    first = asyncio.ensure_future(anext(outcomes))
    primed = _primed(first, outcomes)
    try:
        yield primed
    finally:
        await primed.aclose()
        first.cancel()
        await asyncio.wait({first})
        await outcomes.aclose()


async def _primed(first: Awaitable[Outcome], others: AsyncIterator[Outcome]) -> AsyncGenerator[Outcome]:
    yield await first
    async for outcome in others:
        yield outcome


def _check_terminal() -> None:
    """Refuse to draw where nothing can be drawn. Textual reads standard input and draws on standard error."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if not all(stream is not None and stream.isatty() for stream in streams):
        raise StopError(Exit.USAGE, "the dashboard needs a terminal; `envwatch list` prints the environments once")
    terminal = os.environ.get("TERM", "")
    if terminal in {"", "dumb"}:
        told = f"TERM is {terminal or 'not set'}, and the dashboard needs a terminal that can move its cursor"
        raise StopError(Exit.USAGE, f"{told}; `envwatch list` prints the environments once")
