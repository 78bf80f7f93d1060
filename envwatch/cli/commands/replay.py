"""`envwatch replay`: shows a recording, or prints recorded events."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import poll_log_for, read_display_settings
from envwatch.cli.streams import print_error, standard_error_to, write_all
from envwatch.config.values import path_text
from envwatch.model.times import date_text, parse_past_moment
from envwatch.watch.profiles import state_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.config.settings import Settings
    from envwatch.history.stored import RecordedFile
    from envwatch.model.clock import WallMs
    from envwatch.views.events.event_stream import EventStream

_FASTEST: Final = 10_000.0
_DRAWN_AFTER_S: Final = 1.0


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Play a recording of `envwatch record` in the dashboard: p pauses, [ ] { } and T move in\n"
        "time. With -o, print the recorded changes as `envwatch watch` does. You need no key,\n"
        "and no server is asked."
    )
    parser.examples = {
        "envwatch replay night.rec": "in the dashboard",
        "envwatch replay night.rec --speed 60": "an hour in a minute",
        "envwatch replay night.rec -o jsonl": "its changes, for a program",
    }
    parser.add_argument("file", **valued("FILE", path_text, "the recording"))
    about = "recorded seconds per second (default 1)"
    parser.add_argument("--speed", default=None, **valued("N", _speed, about))
    about = "start here: 02:13, '3m ago' (before its end), '2026-11-25 02:13' or ISO 8601"
    parser.add_argument("--at", default=None, metavar="TIME", help=about)
    parser.add_output("text", "jsonl", about="print the changes at once: text or jsonl")
    parser.add_shared("filter", "view", "no_mouse", "ascii", "log_file", "log_level", "config")


def run(options: Options) -> int:
    """Show a recording, or print the events."""
    if options.output and options.speed is not None:
        raise StopError(Exit.USAGE, "--speed does not go with -o, which prints all events at once")

    display_settings = read_display_settings(options)
    with closing(_opened(options)) as file:
        at = _start(file, options)
        if not options.output:
            import asyncio

            from envwatch.cli.commands.dashboard import require_terminal

            require_terminal()
            return asyncio.run(_show(file, at, options, display_settings))
        from envwatch.cli.commands.watch import build_stream
        from envwatch.fleet.events import NO_PROFILE

        stream = build_stream(options, display_settings, {NO_PROFILE: file.about.base_url}, file.about.profile)
        if file.is_cut:
            print_error(f"envwatch: {_missing_end(file, options)}")
        write_all(_lines(file, at, stream, options))
        return Exit.FINE


def _speed(raw: object) -> float:
    try:
        speed = float(str(raw))
    except ValueError:
        speed = 0.0
    if 0 < speed <= _FASTEST:
        return speed
    raise ValueError(f"must be a number over 0, up to {_FASTEST:,.0f}")


def _opened(options: Options) -> RecordedFile:
    from envwatch.history.past import HistoryError
    from envwatch.history.stored import RecordedFile

    try:
        file = RecordedFile(Path(options.file))
    except HistoryError as error:
        raise StopError(Exit.USAGE, f"cannot replay {options.file}: {error}") from None
    if not file.polls():
        file.close()
        raise StopError(Exit.USAGE, f"cannot replay {options.file}: it has no polls")
    return file


def _start(file: RecordedFile, options: Options) -> WallMs | None:
    if options.at is None:
        return None
    from envwatch.model.clock import WallMs

    times = [poll.at for poll in file.polls()]
    first, last = min(times), max(times)
    end = datetime.fromtimestamp(last / 1000, UTC)
    at = parse_past_moment(options.at, end)
    at_ms = None if at is None else WallMs(at.timestamp() * 1000)
    if at_ms is None or not first // 1000 * 1000 <= at_ms:
        raise StopError(
            Exit.USAGE, f"--at must be a time in the recording: {date_text(first, None)} to {date_text(last, None)}"
        )
    return at_ms


def _missing_end(file: RecordedFile, options: Options) -> str:
    return f"the end of {Path(options.file).name} is missing: it ends at {date_text(file.polls()[-1].at, None)}"


async def _show(file: RecordedFile, at: WallMs | None, options: Options, display_settings: Settings) -> int:
    import asyncio

    from envwatch.alerts.monitor import Monitor
    from envwatch.cli.commands.dashboard import build_preferences, check_screen, run_app
    from envwatch.files import export_here
    from envwatch.fleet.events import NO_PROFILE
    from envwatch.model.limits import Limits
    from envwatch.screen.app import EnvwatchApp
    from envwatch.screen.arguments import Inputs, Replay
    from envwatch.views.command_context import NO_COMMANDS
    from envwatch.watch import gc_tuning
    from envwatch.watch.loop import Watch
    from envwatch.watch.state_file import REMEMBERED, StateFile

    check_screen(display_settings)
    gc_tuning.share_heap()
    notices: asyncio.Queue[str] = asyncio.Queue()
    if file.is_cut:
        notices.put_nowait(_missing_end(file, options))
    poll_log = poll_log_for(options)
    memory = StateFile(REMEMBERED, state_file("state"), poll_log.note)
    about, name = file.about, Path(options.file).name
    app = EnvwatchApp(
        Inputs(
            watch=Watch(Monitor.create({NO_PROFILE: Limits()}, profile_name=about.profile), has_log=True),
            export=export_here,
            keep=memory.keep,
            notices=notices,
            pasts={NO_PROFILE: file},
            replay=Replay(name=name, profile=about.profile, host=about.host, speed=options.speed or 1.0, at=at),
        ),
        # A stranger's row must not start a command of the user.
        build_preferences(display_settings, options, NO_COMMANDS),
    )
    asyncio.get_running_loop().call_later(_DRAWN_AFTER_S, gc_tuning.keep_collecting)
    try:
        with standard_error_to(poll_log.note_stray_line):
            return await run_app(app, poll_log, mouse=not options.no_mouse)
    finally:
        memory.close()


def _lines(file: RecordedFile, at: WallMs | None, stream: EventStream, options: Options) -> Iterator[bytes]:
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.events import NO_PROFILE
    from envwatch.history.past import HistoryError
    from envwatch.history.rewound import rewound
    from envwatch.model.limits import Limits

    present, poll = Monitor.create({NO_PROFILE: Limits()}), file.polls()[0]
    try:
        for step in file.steps():
            poll = step.poll or poll
            if step.events and (at is None or step.at >= at):
                moment = file.moment(poll)
                monitor = rewound(present, {NO_PROFILE: moment})
                yield from stream.lines(monitor, monitor, step.events, moment.now._replace(wall=step.at))
    except HistoryError as error:
        raise StopError(Exit.FAILED, f"the rest of {options.file} cannot be read: {error}") from None
