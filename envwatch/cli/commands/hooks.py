"""`envwatch hooks`: tries the configured hooks with a made-up incident."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, Parser, StopError
from envwatch.cli.bootstrap import all_settings_for, hook_mistakes_in, hooks_in
from envwatch.cli.streams import print_error, stdout, write
from envwatch.model.redactor import redactor
from envwatch.model.text import SafeText, clean, did_you_mean, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.config.hooks import HookSettings
    from envwatch.config.settings import Settings
    from envwatch.deliver.delivery import Delivery
    from envwatch.deliver.message import Message

_TEST: Final = "send a made-up incident, opened and resolved, to each hook or to one hook, and print each result"


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = (
        "Hooks run a program or post to a web service when an environment changes. `envwatch watch --hooks` runs hooks."
    )
    parser.add_shared("config")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    test = actions.add_parser(
        "test", help=_TEST, description=f"{_TEST[0].upper()}{_TEST[1:]}. The exit code is 1 if a hook fails."
    )
    test.add_shared("config")
    test.add_argument("hook", metavar="HOOK", nargs="?", default=None, help="name, or number in the file")


def run(options: Options) -> int:
    """Send each message once."""
    import asyncio

    stdout()
    settings = all_settings_for(options)[0]
    _, deliveries = hooks_in(settings, options)
    mistakes = hook_mistakes_in(settings)
    for mistake in mistakes:
        print_error(f"envwatch: {mistake}")
    chosen = _chosen(settings, options.hook)
    failed = asyncio.run(_try_all(chosen, deliveries, settings.profile_in_file))
    are_all_fine = failed == 0 and (options.hook is not None or not mistakes)
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


async def _try_all(hooks: Sequence[HookSettings], deliveries: Mapping[SafeText, Delivery], profile: str) -> int:
    failed = 0
    for hook in hooks:
        print_error(f"trying {hook.name}: {deliveries[hook.name].target}")
        problem = await _problem(deliveries[hook.name], _made_up(hook.name, profile))
        failed += problem is not None
        result = "ok      opened and resolved" if problem is None else f"failed  {problem}"
        write(f"{redactor()(f'{hook.name}  {result}')}\n".encode())
    return failed


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
    from envwatch.alerts.incidents import Incident
    from envwatch.alerts.ledger import Progress
    from envwatch.alerts.monitor import Monitor
    from envwatch.deliver.message import Context, message_of
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
    return [message_of(incident, hook, context, monitor, now, progress=progress) for progress in steps]
