"""Carry out what a person decides about rows, and word the answer: silences, acknowledgements, overrides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.alerts.alert_policy import Word
from envwatch.alerts.silences import Silence, silence_of_environments
from envwatch.model.times import long_age
from envwatch.views.table.block_text import several_text
from envwatch.watch.acknowledging import Terms, change_shared, parts_of, share
from envwatch.watch.loop import Decisions, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta, tzinfo

    from envwatch.alerts.acknowledgements import ServerKey
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.acks import Ack, AckedRow
    from envwatch.model.text import SafeText


async def share_acks(keys: Iterable[EnvironmentKey], terms: Terms, watch: Watch) -> str:
    """Acknowledge rows at envwatch servers; return an answer."""
    from envwatch.views.report.chat import shared_acks_text

    failures: list[str] = []
    results: list[tuple[TrackedEnvironment, AckedRow]] = []
    for rows in parts_of(_known(keys, watch)):
        target = watch.targets[rows[0].profile]
        if target.team is None:
            failures.append(f"not acknowledged: {target.host} is no envwatch server now")
            continue
        shared = await share(target.team, rows, terms)
        if shared.error is not None:
            failures.append(f"not acknowledged: {shared.error}")
            continue
        target.poller.refresh()
        results += shared.results
    texts = [shared_acks_text(results, terms.lasts)] if results else []
    return "; ".join(dict.fromkeys([*texts, *failures])) or "nothing to acknowledge: the machine has left the fleet"


async def change_shared_acks(shared: Iterable[tuple[SafeText, SafeText]], note: SafeText | None, watch: Watch) -> str:
    """Change the notes of acknowledgements by (profile, uuid), or end them if `note` is None; return an answer."""
    what, done = "changed", "acknowledged with another note for the team"
    if note is None:
        what, done = "ended", "no longer acknowledged"
    answers = []
    for profile, uuid in shared:
        target = watch.targets[profile]
        if not uuid or target.team is None:
            answers.append(f"not {what}: only a user of {target.host} can change what has no UUID")
            continue
        error = await change_shared(target.team, uuid, note)
        if error is not None:
            answers.append(f"not {what}: {error}")
            continue
        target.poller.refresh()
        answers.append(done)
    return "; ".join(dict.fromkeys(answers))


def change_acks(changes: Mapping[ServerKey, Ack | None], watch: Watch, _user: SafeText) -> str:
    """Change acknowledgements; None withdraws an acknowledgement."""
    watch.decide(Decisions(acks=changes))
    return ""


def silence_rows(  # noqa: PLR0913  a silence, and who takes it
    keys: Iterable[EnvironmentKey], lasts: timedelta, note: SafeText, watch: Watch, user: SafeText, *, hidden: int = 0
) -> str:
    """Silence rows; return an answer. The filter hides `hidden` rows."""
    from envwatch.views.output.alert_decisions import still_paging

    known = _known(keys, watch)
    tail = f" ({hidden:,} hidden by the filter)" if hidden else ""
    if not known:
        return f"nothing to silence: the machine has left the fleet{tail}"
    on_server = _server_keys(known, watch.monitor)
    silence = silence_of_environments(on_server, watch.clocks().wall, lasts, note, user)
    watch.decide(Decisions(silences={silence.id: silence}))
    recovered = " (it is up)" if len(known) == 1 and known[0].verdict.is_up else ""
    still = still_paging(known, watch.monitor.fleet.server_of)
    return f"silenced on this machine for {long_age(lasts)}: {several_text(known)}{recovered}{tail}{still}"


def end_silences(silences: Iterable[Silence], watch: Watch, user: SafeText) -> str:
    """End silences; return an answer."""
    at, current = watch.clocks().wall, watch.monitor.silences
    ended = {
        silence.id: silence.ended(at, user)
        for silence in silences
        if silence.hours is not None or (silence.id in current and current[silence.id].holds(at))
    }
    watch.decide(Decisions(silences=ended))
    return "no longer silenced" if ended else "the silence has ended already"


def decide_alerts(
    keys: Iterable[EnvironmentKey], zone: tzinfo | None, watch: Watch, user: SafeText, *, is_always: bool | None
) -> str:
    """Decide whether losses page; None leaves the decision to the rules."""
    from envwatch.views.output.alert_decisions import answer_to_word, decided_rows

    known, now = _known(keys, watch), watch.clocks()
    if not known:
        return "nothing to decide: the machine has left the fleet"
    word = None if is_always is None else Word(is_always, now.wall, user)
    watch.decide(Decisions(words=dict.fromkeys(_server_keys(known, watch.monitor), word)))
    return answer_to_word(decided_rows(known, watch.monitor, now), "A", zone, watch.monitor.fleet.server_of)


def _known(keys: Iterable[EnvironmentKey], watch: Watch) -> list[TrackedEnvironment]:
    return [tracked for key in keys if (tracked := watch.monitor.fleet.tracked(key)) is not None]


def _server_keys(rows: Iterable[TrackedEnvironment], monitor: Monitor) -> list[ServerKey]:
    return [(monitor.fleet.server_of(row.profile), row.environment.id) for row in rows]
