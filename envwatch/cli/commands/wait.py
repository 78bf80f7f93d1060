"""`envwatch wait`: waits until machines match."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.cli.arguments import SERVER_OPTIONS, Exit, Options, Parser, StopError, valued
from envwatch.cli.bootstrap import poll_log_for, print_hint, profiles_for, show_line
from envwatch.cli.streams import ProgressLine, stdout, write, write_json
from envwatch.config.values import duration, whole_number
from envwatch.model import limits
from envwatch.model.text import clean
from envwatch.model.times import long_age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.cli.machines import Target
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.views.events.matching import WaitCondition
    from envwatch.watch.loop import MonitorUpdate
    from envwatch.watch.profiles import Profiles


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Wait until a machine matches, and print the names of those that do, one per line.\n"
        "Only complete and plausible answers of the server count. A machine that the server\n"
        "no longer lists matches only a query for states (status:gone).\n\n"
        "Exit codes: 0 matched, 1 no match within --timeout, 3 no usable answer at the end of\n"
        "--timeout, 4 the key is refused."
    )
    parser.examples = {
        "envwatch wait web-1 status:on": "until web-1 is on",
        "envwatch wait 'name:ci-*' status:on --count 3": "until three runners are on",
        "envwatch wait 'pod:p-3' status:off --absent": "until none of a pod is off",
    }
    parser.add_argument(
        "--count", default=None, **valued("N", whole_number(1, 100_000), "wait for N matching machines (default 1)")
    )
    parser.add_flag("--absent", "wait until no machine matches")
    about = "give up after this time: 30s, 5m, 1h (default: never)"
    reader = duration(1, limits.LONGEST_WATCH.total_seconds())
    parser.add_argument("--timeout", default=None, **valued("TIME", reader, about))
    parser.add_output("name", "json")
    parser.add_machines(nargs="*", about="what to wait for: web-1 status:on")
    parser.add_shared(*SERVER_OPTIONS, "profile", "interval", "log_file", "log_level", "config")


def run(options: Options) -> int:
    """Wait, and print the matching names."""
    from envwatch.cli.machines import find_target
    from envwatch.cli.running import run_until_signalled
    from envwatch.views.events.matching import WaitCondition

    target = find_target(options)
    if options.absent and options.count is not None:
        raise StopError(Exit.USAGE, "--absent waits until no machine matches: leave out --count")
    stdout()
    profiles = profiles_for(options)

    condition = WaitCondition(
        query=target.query,
        count=options.count or 1,
        is_absence=options.absent,
        profile_name=clean(profiles.first.profile),
    )
    return run_until_signalled(lambda: _wait(profiles, target, condition, options))


async def _wait(profiles: Profiles, target: Target, condition: WaitCondition, options: Options) -> int:
    from envwatch.cli.machines import refuse_shared_names
    from envwatch.cli.running import refusal_check
    from envwatch.letta.poller import read_clocks
    from envwatch.watch.loop import deadline_after
    from envwatch.watch.monitoring import monitoring

    began = read_clocks()
    last: MonitorUpdate | None = None
    is_checked = False
    with ProgressLine(after_s=0) as line, closing(poll_log_for(options, show_line)) as poll_log:
        deadline = deadline_after(began, options.timeout)
        async with monitoring(profiles, poll_log, deadline, is_recorded=False, is_writer=False) as watched:
            stop_if_refused = refusal_check(watched.watch.targets)
            async for last in watched.watch:
                stop_if_refused(last)
                if not is_checked:
                    refuse_shared_names(target, last.monitor.fleet)
                    is_checked = print_hint(target.query, last.monitor.fleet)
                # Only a new listing proves a condition.
                if last.has_new_listing and (progress := condition.progress(last.monitor, last.changes.now)).is_met:
                    _write(() if condition.is_absence else progress.matching, options)
                    return Exit.FINE
                if line.is_due:
                    line.show(_text(condition, last, began.monotonic))
    raise _stop(target, condition, last, options)


def _write(matching: Sequence[TrackedEnvironment], options: Options) -> None:
    if options.output != "json":
        write("".join(f"{tracked.environment.label}\n" for tracked in matching).encode())
        return
    write_json(
        [
            {"id": each.environment.id, "name": each.environment.label, "profile": each.profile or None}
            for each in matching
        ]
    )


def _text(condition: WaitCondition, update: MonitorUpdate, began_s: float) -> str:
    progress = condition.progress(update.monitor, update.changes.now)
    count = len(progress.matching)
    found = f"{count} match, none may" if condition.is_absence else _found(count, condition)
    waited = long_age(timedelta(seconds=update.changes.now.monotonic - began_s))
    failures = [
        profile_state.failure.cause for profile_state in update.monitor.fleet if profile_state.failure is not None
    ]
    trouble = ", ".join(dict.fromkeys(failures)) or ("" if progress.is_proven else "not certain yet")
    return f"waiting for {waited}: {found}{trouble and f'; {trouble}'}"


def _found(count: int, condition: WaitCondition) -> str:
    if not count:
        return "no machine matches"
    return f"{count} of {condition.count} wanted machines match"


def _stop(target: Target, condition: WaitCondition, last: MonitorUpdate | None, options: Options) -> StopError:
    waited = f"after {long_age(options.timeout)}"
    if last is None:
        return StopError(Exit.UNREACHABLE, f"{waited}, no data has come yet; give it more time with --timeout")
    failures = [profile_state.failure for profile_state in last.monitor.fleet if profile_state.failure is not None]
    if refused := next((failure for failure in failures if failure.cause.is_refusal), None):
        return StopError(Exit.AUTHENTICATION, f"{waited}: {refused.cause}: {refused.message}")
    progress = condition.progress(last.monitor, last.changes.now)
    if not progress.is_proven:
        why = f": {failures[0].cause}: {failures[0].message}" if failures else ""
        return StopError(Exit.UNREACHABLE, f"{waited}, nothing can be known{why}")
    count = len(progress.matching)
    found = f"{count} still match:" if condition.is_absence else _found(count, condition)
    step = "" if count else "; `envwatch list` prints all"
    return StopError(Exit.FAILED, f"{waited}, {found} {target.text}{step}")
