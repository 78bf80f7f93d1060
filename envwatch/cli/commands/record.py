"""`envwatch record`: polls or history as a file for `envwatch replay`."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envwatch import __version__
from envwatch.cli.arguments import Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import all_settings_for, credentials_for, past_moment, poll_log_for, show_line
from envwatch.cli.streams import ProgressLine, print_error
from envwatch.config.values import duration, past, path_text
from envwatch.fleet.events import NO_PROFILE
from envwatch.model import limits
from envwatch.model.text import SafeText, clean, counted
from envwatch.model.times import date_text, long_age
from envwatch.watch.profiles import Profiles, SelectedProfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envwatch.config.settings import Settings
    from envwatch.history.past import HistoryError, Moment, RecordedStep
    from envwatch.history.recording import RecordingWriter
    from envwatch.history.stored import StoredPast
    from envwatch.model.clock import WallMs
    from envwatch.watch.log import PollLog
    from envwatch.watch.loop import MonitorUpdate

_PAST: Final = past("a time in the past like 02:00, 8h ago or 'yesterday 14:00', or ISO 8601")


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Record polls into one file, until ctrl+c. `envwatch replay` plays it, on any machine.\n"
        "With --since, copy a part of the history; no server is asked. If a recording is\n"
        "killed or its file is cut, only the end is lost. The exit code is 4 if the server\n"
        "keeps refusing the key."
    )
    parser.examples = {
        "envwatch record -o night.rec": "until ctrl+c",
        "envwatch record -o shift.rec --for 8h": "for eight hours",
        "envwatch record -o bug.rec --since 8h --redact": "what happened, without names",
    }
    parser.add_argument("-o", "--output", dest="file", required=True, **valued("FILE", path_text, "the file to write"))
    parser.add_flag("--force", "replace the file if it exists")
    about = "record for this time: 10m, 8h, 1d"
    reader = duration(1, limits.LONGEST_WATCH.total_seconds())
    parser.add_argument("--for", dest="lasts", default=None, **valued("TIME", reader, about))
    about = "copy the history since: 8h, 02:00, 'yesterday 14:00' or ISO 8601"
    parser.add_argument("--since", default=None, **valued("TIME", _PAST, about))
    parser.add_argument(
        "--until", default=None, **valued("TIME", _PAST, "with --since: the end of the copy (default now)")
    )
    about = "replace names, ids, hosts and the like by pseudonyms, and leave out free texts"
    parser.add_flag("--redact", about)
    parser.add_shared("profile", "interval", "page_size", "online_only", "source", "user", "no_history")
    parser.add_shared("log_file", "log_level", "config")


def run(options: Options) -> int:
    """Record polls, or cut from the history."""
    _check(options)
    settings = _settings(options)
    options.since = None if options.since is None else past_moment(options.since)
    options.until = None if options.until is None else past_moment(options.until)
    if options.until is not None and options.until < options.since:
        what = f"--until ({_at(options.until)}) must not be before --since ({_at(options.since)})"
        raise StopError(Exit.USAGE, what)
    return _record(settings, options) if options.since is None else _cut(settings, options)


def _check(options: Options) -> None:
    if options.since is None and options.until is not None:
        raise StopError(Exit.USAGE, "--until needs --since; a recording of new polls ends with --for")
    if options.since is not None and options.lasts is not None:
        raise StopError(Exit.USAGE, "--for does not go with --since; end the copy with --until")


def _settings(options: Options) -> Settings:
    from envwatch.cli.stored_history import recorded_settings_for

    settings, *others = all_settings_for(options) if options.since is None else recorded_settings_for(options)
    if others:
        raise StopError(Exit.USAGE, "a recording has one profile: choose it with --profile NAME")
    return settings


def _record(settings: Settings, options: Options) -> int:
    from envwatch.cli.running import run_until_signalled

    credentials = credentials_for(settings)
    with ExitStack() as stack:
        writer = _writer(settings, clean(credentials.base_url), options, stack)
        profiles = Profiles({NO_PROFILE: SelectedProfile(credentials, settings)})
        poll_log = stack.enter_context(closing(poll_log_for(options, show_line)))
        return run_until_signalled(lambda: _poll(writer, profiles, poll_log, options))


async def _poll(writer: RecordingWriter, profiles: Profiles, poll_log: PollLog, options: Options) -> int:
    import asyncio

    from envwatch.cli.running import refusal_check
    from envwatch.letta.poller import read_clocks
    from envwatch.watch.loop import deadline_after
    from envwatch.watch.monitoring import monitoring
    from envwatch.watch.pinging import find_pings, pinging

    began = read_clocks()
    deadline = deadline_after(began, options.lasts)
    pings = find_pings(profiles)
    async with (
        monitoring(profiles, poll_log, deadline, is_recorded=not options.no_history) as watched,
        pinging(pings, watched.watch, poll_log.warn),
    ):
        end = "; ctrl+c ends it" if options.lasts is None else f" for {long_age(options.lasts)}"
        print_error(f"envwatch: recording {watched.polled}{end}")
        stop_if_refused = refusal_check(watched.watch.targets)
        with ProgressLine(after_s=0) as progress:
            async for update in watched.watch:
                try:
                    await asyncio.to_thread(write_update, writer, update)
                except OSError as error:
                    raise _cannot_write(options, error) from None
                if progress.is_due:
                    lasted = timedelta(seconds=update.changes.now.monotonic - began.monotonic)
                    progress.show(f"{_size(writer)} in {long_age(lasted)}")
                stop_if_refused(update)
    return Exit.FINE


def write_update(writer: RecordingWriter, update: MonitorUpdate) -> None:
    """Write an update; skip and report a moment that cannot be encoded.

    Raises:
        OSError: the recording cannot be written.
    """
    from envwatch.history.past import HistoryError, Moment
    from envwatch.model.outcome import PollResult

    changes = update.changes
    if changes.outcome is None or changes.profile is None:
        if changes.events:
            writer.write_events(changes.now.wall, changes.events)
        return
    moment = Moment.of(update.monitor, changes.profile, changes.now)
    result = PollResult.from_outcome(changes.outcome)
    try:
        writer.write(moment, result, changes.events)
    except HistoryError as error:
        print_error(f"envwatch: a poll is not in the recording: {error}")


def _cut(settings: Settings, options: Options) -> int:
    from envwatch.cli.stored_history import base_url_of, open_past
    from envwatch.history.past import HistoryError, left_out_of
    from envwatch.model.clock import WallMs

    base_url = base_url_of(settings)
    past = open_past(settings, base_url)
    until = options.until or datetime.now(UTC)
    since_ms, until_ms = (WallMs(at.timestamp() * 1000) for at in (options.since, until))
    with ExitStack() as stack:
        writer = _writer(settings, base_url, options, stack)
        try:
            left_out = left_out_of(_copied(past, since_ms, until_ms, writer))
        except HistoryError as error:
            raise _cannot_read(str(error)) from None
        except OSError as error:
            raise _cannot_write(options, error) from None
        if not writer.polls:
            for each in left_out:
                if each.what == "poll":
                    raise _cannot_read(each.reason)
            what = f"nothing was recorded of profile {settings.profile} at {base_url}"
            raise StopError(Exit.FAILED, f"{what} from {_at(options.since)} to {_at(until)}")
        for each in left_out:
            print_error(f"envwatch: {each.text()}: {each.reason}")
    return Exit.FINE


def _copied(past: StoredPast, since: WallMs, until: WallMs, writer: RecordingWriter) -> Iterator[RecordedStep]:
    steps = list(past.steps(since, until))
    polls = [step.poll for step in steps if step.poll is not None]
    with ProgressLine(after_s=0) as progress:
        for step in _written(steps, past.moments(polls), writer):
            if progress.is_due:
                progress.show(f"{writer.polls:,} of {len(polls):,} polls")
            yield step


def _written(
    steps: Iterable[RecordedStep], moments: Iterator[Moment | HistoryError], writer: RecordingWriter
) -> Iterator[RecordedStep]:
    """Write and yield steps, with only the events of a poll whose moment is unreadable."""
    from envwatch.history.past import HistoryError, Moment

    run: int | None = None
    for step in steps:
        moment = None if step.poll is None else next(moments)
        written = step.without_poll(clean(str(moment))) if isinstance(moment, HistoryError) else step
        if written.left_out is not None:
            writer.restart()
        if written.poll is not None and isinstance(moment, Moment):
            if written.poll.run != run:
                run = written.poll.run
                writer.start_run()
            writer.write(moment, written.poll.result, written.events)
        elif written.events:
            writer.write_events(written.at, written.events)
        yield written


def _writer(settings: Settings, base_url: SafeText, options: Options, stack: ExitStack) -> RecordingWriter:
    """Return a recording's writer; the closing stack reports the result.

    A file without polls and an incomplete cut are removed.
    """
    try:
        from envwatch.history.past import About
        from envwatch.history.recording import RecordingWriter
        from envwatch.history.redaction import Redaction
    except ImportError as error:  # Python can be built without SQLite
        raise StopError(Exit.FAILED, f"cannot write {options.file}: {error}") from None
    path = Path(options.file)
    about = About(profile=clean(settings.profile), base_url=base_url, version=clean(__version__))
    redaction = Redaction() if options.redact else None
    try:
        if options.force and path.is_file():
            path.unlink()
        writer = RecordingWriter(path, about, redaction)
    except FileExistsError:
        raise StopError(Exit.USAGE, f"{options.file} exists; choose another name, or --force to replace it") from None
    except OSError as error:
        raise _cannot_write(options, error) from None
    stack.push(lambda _, error, __: _finish(writer, path, options, error))
    return writer


def _finish(writer: RecordingWriter, path: Path, options: Options, error: BaseException | None) -> None:
    try:
        writer.close()
    except OSError as late:
        raise _cannot_write(options, late) from None
    if not writer.size:  # the path may have another file
        if error is None:
            raise StopError(Exit.FAILED, f"cannot write {options.file}: the file was removed or replaced; record again")
    elif writer.polls and (error is None or options.since is None):
        print_error(f"envwatch: {_size(writer)} in {os.fspath(path)}")
    else:
        path.unlink(missing_ok=True)


def _cannot_read(reason: str) -> StopError:
    return StopError(Exit.FAILED, f"the history cannot be read: {reason}; see `envwatch doctor`")


def _cannot_write(options: Options, error: OSError) -> StopError:
    return StopError(Exit.FAILED, f"cannot write {options.file}: {error.strerror}")


def _size(writer: RecordingWriter) -> str:
    import humanize

    return f"{counted(writer.polls, 'poll')}, {humanize.naturalsize(writer.size, binary=True)}"


def _at(at: datetime) -> SafeText:
    return date_text(at.timestamp() * 1000, None)
