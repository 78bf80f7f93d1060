"""`envwatch hooks`: tries the configured hooks with a made-up incident."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError
from envwatch.cli.bootstrap import all_settings_for, deliveries_for
from envwatch.cli.streams import print_error, stdout, write, write_json, write_table
from envwatch.model.redactor import redactor
from envwatch.model.text import SafeText, clean, did_you_mean, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.config.hooks import HookSettings
    from envwatch.config.settings import Settings
    from envwatch.deliver.delivery import Delivery
    from envwatch.deliver.message import Message

_TEST: Final = "send a made-up incident and its end to each hook, or to one"


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Hooks run a program or post to a web service when machines go down and come back.\n"
        "They stand in the configuration file; `envwatch watch --hooks` runs them."
    )
    parser.examples = {
        "envwatch hooks list": "what each hook sends, and where",
        "envwatch hooks test": "does it arrive?",
        "envwatch watch --hooks": "from now on",
    }
    parser.add_shared("config")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    list_parser = actions.add_parser(
        "list",
        help="print each hook: what it sends, where, and whether it can",
        description="Print each hook of the configuration file. Nothing is sent.",
        examples={
            "envwatch hooks list": "all of them",
            "envwatch hooks list --config new.toml": "those of another file",
            "envwatch hooks list -o json": "for a program",
        },
    )
    test = actions.add_parser(
        "test",
        help=_TEST,
        description=f"{_TEST[0].upper()}{_TEST[1:]}. The exit code is 1 if a hook fails.",
        examples={
            "envwatch hooks test": "all of them",
            "envwatch hooks test chat": "the one with this name",
            "envwatch hooks test 1 -o json": "the first one, for a program",
        },
    )
    for action_parser, first in ((list_parser, "table"), (test, "text")):
        action_parser.add_output(first, "json")
        action_parser.add_shared("config")
    test.add_argument("hook", metavar="HOOK", nargs="?", default=None, help="its name, or its number in the file")


def run(options: Options) -> int:
    """List the hooks, or send each message once."""
    stdout()
    settings = all_settings_for(options)[0]
    return _list(options, settings) if options.action == "list" else _test(options, settings)


def _list(options: Options, settings: Settings) -> int:
    from envwatch.deliver.delivery import prepare_all

    mistakes = settings.hook_mistakes
    for mistake in mistakes:
        print_error(f"envwatch: {mistake}")
    deliveries = prepare_all(settings.deliveries, os.environ, settings.secret_variables)
    problems = {name: [clean(what) for what, _ in each.problems()] for name, each in deliveries.items()}
    if options.output == "json":
        write_json(
            [
                {
                    "name": hook.name,
                    "on": [*hook.on],
                    "filter": hook.filter or None,
                    "target": redactor()(deliveries[hook.name].target),
                    "problems": problems[hook.name],
                }
                for hook in settings.hooks
            ]
        )
    elif settings.hooks:
        rows = [
            (hook.name, ",".join(hook.on), deliveries[hook.name].target, "; ".join(problems[hook.name]) or "-")
            for hook in settings.hooks
        ]
        write_table([[clean(redactor()(cell)) for cell in row] for row in [("NAME", "ON", "TO", "PROBLEM"), *rows]])
    elif not mistakes:
        print_error("there are no hooks; `envwatch config init` explains them")
    return Exit.FINE


def _test(options: Options, settings: Settings) -> int:
    import asyncio

    deliveries = deliveries_for(settings, options)
    mistakes = settings.hook_mistakes
    for mistake in mistakes:
        print_error(f"envwatch: {mistake}")
    chosen = _chosen(settings, options.hook)
    results = asyncio.run(_try_all(chosen, deliveries, settings.profile_in_file, is_json=options.output == "json"))
    if options.output == "json":
        write_json([{"name": name, "problem": problem} for name, problem in results.items()])
    are_all_fine = not any(results.values()) and (options.hook is not None or not mistakes)
    return Exit.FINE if are_all_fine else Exit.FAILED


def _chosen(settings: Settings, wanted: str | None) -> Sequence[HookSettings]:
    if wanted is None:
        return settings.hooks

    by_name = {str(hook.name): hook for hook in settings.hooks}
    indices = () if settings.document is None else settings.document.hook_indices
    by_number = {str(index + 1): hook for index, hook in zip(indices, settings.hooks, strict=True)}
    found = by_name.get(wanted) or by_number.get(wanted)
    if found is None:
        hint = did_you_mean(wanted, by_name) or f"; there are {', '.join(by_name)}"
        raise StopError(Exit.USAGE, f"there is no hook {shortened(clean(wanted), 40)}{hint}")
    return [found]


async def _try_all(
    hooks: Sequence[HookSettings], deliveries: Mapping[SafeText, Delivery], profile: str, *, is_json: bool
) -> Mapping[SafeText, str | None]:
    results = dict[SafeText, str | None]()
    for hook in hooks:
        print_error(f"trying {hook.name}: {deliveries[hook.name].target}")
        problem = await _problem(deliveries[hook.name], _made_up(hook.name, profile))
        results[hook.name] = None if problem is None else redactor()(problem)
        if not is_json:
            result = "ok      opened and resolved" if problem is None else f"failed  {problem}"
            write(f"{redactor()(f'{hook.name}  {result}')}\n".encode())
    return results


async def _problem(delivery: Delivery, messages: Sequence[Message]) -> str | None:
    from envwatch.deliver.message import DeliveryError

    for message in messages:
        began_at = time.monotonic()
        try:
            await delivery.send(message)
        except DeliveryError as error:
            printed = f"; it printed: {error.output}" if error.output else ""
            return f"{error} (after {time.monotonic() - began_at:.1f} s){printed}"
    return None


def _made_up(hook: SafeText, profile: str) -> Sequence[Message]:
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.ledger import Progress
    from envwatch.alerts.monitor import Monitor
    from envwatch.deliver.message import Context, build_message
    from envwatch.fleet.events import NO_PROFILE, Event, Kind
    from envwatch.letta.poller import read_clocks
    from envwatch.model.clock import MonotonicS, ServerMs
    from envwatch.model.limits import Limits

    now = read_clocks()
    at = ServerMs(now.wall - 60_000)
    loss = Event(
        kind=Kind.OFFLINE,
        at=at,
        id=clean("env-test"),
        name=clean("test of envwatch hooks"),
        reason=clean("nothing happened, this is a test"),
    )
    incident = Incident(
        id=clean(f"inc-test-{at:.0f}"),
        profile=NO_PROFILE,
        began_at=at,
        losses=(loss,),
        noticed_at=MonotonicS(now.monotonic),
        remaining=frozenset({(NO_PROFILE, clean("env-test"))}),
    )
    context = Context(source="envwatch:test", host="envwatch", profile=profile)
    monitor = Monitor.create({NO_PROFILE: Limits()})
    steps = (Progress.DUE, Progress.END_DUE)
    return [build_message(incident, hook, context, monitor, now, progress=progress) for progress in steps]
