"""The commands: how the parts are wired together, and what comes of it on standard output and as exit code.

The only module that knows all the others, and it imports them late: help and refusals must come at once, and `list`
must not pay for the screen. Data goes to standard output, narration to standard error; a failure is one line that says
what to do.
"""
# ruff: noqa: PLC0415 - see above: imports stand where they are needed

from __future__ import annotations

import os
import shutil
import sys
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from envwatch import __version__, collector
from envwatch.censor import censor
from envwatch.options import Exit, HelpAsked, Options, StopError, options_in
from envwatch.output import is_utf8, stdout, tell, write
from envwatch.wiring import (
    access_for,
    accesses_for,
    all_settings_for,
    check_screen,
    client_for,
    config_path_for,
    host_of,
    journal_for,
    mistakes_outside,
    settings_for_demo,
    state_file,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from envwatch.journal import Journal
    from envwatch.key import Access
    from envwatch.outcome import Outcome
    from envwatch.poller import Poller
    from envwatch.posts import Post
    from envwatch.settings import Settings
    from envwatch.tui.app import EnvwatchApp
    from envwatch.tui.lifecycle import LastingApp


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; the process's own if None.
    """
    options = Options()
    try:
        return _run(arguments, options)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except StopError as stop:
        if stop.line:
            tell(f"envwatch: {stop.line}")
        return stop.code
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a bug
        return crashed(error, journal_for(options))


def _run(arguments: Sequence[str] | None, options: Options) -> int:
    try:
        options_in(arguments, options)
    except HelpAsked as asked:
        write(asked.text.encode())
        return Exit.FINE
    collector.stop()
    match options.command:
        case "list":
            from envwatch.headless import list_once

            return list_once(options)
        case "demo" if options.serve:
            return _serve(options)
        case "demo":
            return _demo(options)
        case "config":
            return _config(options)
        case _:
            _check_terminal()
            from envwatch.key import typed_key

            all_settings = all_settings_for(options)
            watched = list(zip(accesses_for(all_settings, typed_key), all_settings, strict=True))
            return _dashboard(watched, options)


def _demo(options: Options) -> int:
    """Run the dashboard on a demo server, which starts while we import."""
    _check_terminal()
    from dataclasses import replace

    from envwatch.demo.child import ChildServer

    settings = settings_for_demo(options)
    with ExitStack() as stack:
        try:
            child = stack.enter_context(ChildServer.start(options.size, options.seed))
            from pydantic import SecretStr

            from envwatch.key import Access

            access = Access(key=SecretStr(child.key), base_url=child.ready(), origin="the demo itself")
        except OSError as error:
            raise StopError(Exit.FAILED, f"no demo: {error}") from None
        censor().learn(child.key)
        rules = replace(settings.rules, requests_per_minute=_UNLIMITED)
        return _dashboard([(access, replace(settings, rules=rules, profile="demo"))], options)


_UNLIMITED = 1_000_000
"""Requests a minute: the server is our own."""


def _serve(options: Options) -> NoReturn:
    """Run the demo server alone until ctrl+c."""
    import secrets
    import signal

    from envwatch.demo.server import serve

    try:
        server = serve(size=options.size, seed=options.seed, key=f"demo-{secrets.token_urlsafe(24)}")
    except OSError as error:
        raise StopError(Exit.FAILED, f"the demo server cannot listen: {error.strerror}") from None
    with server:
        write(f"export LETTA_BASE_URL={server.base_url}\nexport LETTA_API_KEY={server.key}\n".encode())
        tell(f"serving {options.size} environments until ctrl+c: paste these lines into another shell for `envwatch`")
        while True:
            signal.pause()


def _dashboard(watched: Sequence[tuple[Access, Settings]], options: Options) -> int:
    import asyncio

    return asyncio.run(_screen(watched, options))


async def _screen(watched: Sequence[tuple[Access, Settings]], options: Options) -> int:
    """Show the dashboard; the first polls are on their way while Textual is imported.

    Args:
        watched: the profiles. How the screen looks, the first of them says.
        options: of the command line.
    """
    import asyncio

    from envwatch.events import SOLE
    from envwatch.memory import Acknowledgements, Memory, acknowledged
    from envwatch.posts import together
    from envwatch.standard_error import standard_error_to
    from envwatch.text import clean

    looks = watched[0][1]
    notices: asyncio.Queue[str] = asyncio.Queue()
    notify = _notify_by(notices)
    journal = journal_for(options, notify)
    async with AsyncExitStack() as stack:
        stack.enter_context(standard_error_to(journal.tell_stray))
        posts, streams = {}, {}
        for access, settings in watched:
            name = clean(settings.profile) if len(watched) > 1 else SOLE
            posts[name], outcomes = await stack.enter_async_context(_post(access, settings))
            streams[name] = await stack.enter_async_context(aclosing(journal.watching(outcomes, name)))
        app_class = await asyncio.to_thread(_app_class)
        check_screen(looks)
        collector.start()
        from envwatch.tui.keymap import keymap_of

        def note(text: str) -> None:
            journal.note(text)
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
            posts=posts,
            outcomes=await stack.enter_async_context(aclosing(together(streams))),
            theme=looks.theme,
            sort=looks.sort,
            columns=looks.columns,
            filter_text=looks.filter,
            keymap=keymap_of(looks.keys),
            keep=memory.keep,
            **known,
            notices=notices,
            rings=looks.bell,
            notify=looks.notify,
            ascii_only=options.ascii or not is_utf8(stdout()),
        )
        for post in posts.values():
            asked = f"{post.host} every {post.poller.interval.total_seconds():g} s"
            journal.note(f"envwatch {__version__} asks {asked}, with the key from {post.key_origin}")
        return await show(app, journal, mouse=not options.no_mouse)


def _notify_by(notices: asyncio.Queue[str]) -> Callable[[str], None]:
    """Return a function that puts a line onto the screen, from whatever thread."""
    import asyncio

    loop = asyncio.get_running_loop()

    def notify(text: str) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the screen with it
            loop.call_soon_threadsafe(notices.put_nowait, censor()(text))

    return notify


@asynccontextmanager
async def _post(access: Access, settings: Settings) -> AsyncIterator[tuple[Post, AsyncIterator[Outcome]]]:
    """Begin to poll under one profile."""
    from envwatch.poller import Poller
    from envwatch.posts import Post

    def note_pages(pages: int) -> None:
        poller.pages_read = pages

    async with client_for(access, settings, on_page=note_pages) as client:
        poller = Poller(client, settings.rules)
        post = Post(
            profile=settings.profile,
            host=host_of(access),
            key_origin=access.origin,
            poller=poller,
            rules=settings.rules,
        )
        async with polling(poller) as outcomes:
            yield post, outcomes


async def show(app: LastingApp[int], journal: Journal, *, mouse: bool = True) -> int:
    """Run an app to its end, whatever that is, and return the exit code; the terminal is given back by then."""
    import asyncio

    def note(_: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        journal.note(context["message"]) if error is None else journal.tell_crash(error)

    # Of errors that nobody waits for asyncio would tell standard error, which is the screen.
    asyncio.get_running_loop().set_exception_handler(note)
    await app.run_async(mouse=mouse)
    if app.crash is not None:
        return crashed(app.crash, journal)
    code = app.return_code or Exit.FINE
    journal.note(f"ended with exit code {code}")
    journal.close()
    return code


def crashed(error: BaseException, journal: Journal) -> int:
    """Tell of a bug: everything to the log, one screen to standard error. Return the exit code."""
    journal.tell_crash(error)
    journal.close()
    columns, lines = shutil.get_terminal_size()
    for line in journal.screen_report(error, columns=columns, lines=lines):
        tell(line)
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


def _config(options: Options) -> int:
    """Tell of the configuration file and of what holds."""
    from envwatch import origins

    path, is_wanted = config_path_for(options)
    match options.action:
        case "path":
            write(os.fsencode(path) + b"\n")
        case "schema":
            write(origins.schema().encode())
        case "validate":
            return _validate(path, is_wanted=is_wanted)
        case "show":
            write(censor()(_shown(all_settings_for(options), path)).encode())
    return Exit.FINE


def _shown(all_settings: Sequence[Settings], path: Path) -> str:
    """Return what holds, a block for each profile."""
    from envwatch.origins import shown

    blocks = []
    for settings in all_settings:
        access: Access | str
        try:
            access = access_for(settings, is_one_of_several=len(all_settings) > 1)
        except StopError as stop:
            access = stop.line
        blocks.append(shown(settings, access, path))
    return "\n".join(blocks)


def _validate(path: Path, *, is_wanted: bool) -> int:
    """Tell each mistake of the configuration file, or that there is none."""
    from envwatch.origins import mistakes_in
    from envwatch.settings import document_at
    from envwatch.values import ConfigError

    try:
        document = document_at(path, is_wanted=is_wanted)
        mistakes = mistakes_in(document, mistakes_outside) if document else ()
    except ConfigError as error:
        document, mistakes = None, error.lines
    for mistake in mistakes:
        tell(f"envwatch: {mistake}")
    if mistakes:
        return Exit.USAGE
    tell(f"{path}: {'fine' if document else 'there is no such file, and none is needed'}")
    return Exit.FINE


def _check_terminal() -> None:
    """Refuse to draw where nothing can be drawn. Textual reads standard input and draws on standard error."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if not all(stream is not None and stream.isatty() for stream in streams):
        raise StopError(Exit.USAGE, "the dashboard needs a terminal; `envwatch list` prints the environments once")
    terminal = os.environ.get("TERM", "")
    if terminal in {"", "dumb"}:
        told = f"TERM is {terminal or 'not set'}, and the dashboard needs a terminal that can move its cursor"
        raise StopError(Exit.USAGE, f"{told}; `envwatch list` prints the environments once")
