"""The values and texts of `envwatch alerts`."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.alert_policy import Rule, decision_sentence
from envwatch.fleet.uptime import share_text
from envwatch.model.shared_marks import shared_alerts_of
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted, enumerated, shortened
from envwatch.views.output.formats import DECIMALS
from envwatch.views.table.block_text import several_text
from envwatch.views.table.table_view import AmbiguousNames, by_name, id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import tzinfo

    from envwatch.alerts.alert_policy import Decision
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks

_NAME_CELLS: Final = 40
_NAMES: Final = 8
_NOTHING: Final = clean("-")
_REASONS: Final = {
    Rule.WORD: "never",
    Rule.SHARED: "by the server",
    Rule.SANDBOX: "in a sandbox",
    Rule.ALERT: "outside `alert`",
    Rule.SYSTEM: "on a laptop's system",
}
_NOT_PERMANENT, _NEW = "not up enough", "watched for under two days"


class DecidedRow(NamedTuple):
    """An environment, and whether it pages."""

    tracked: TrackedEnvironment
    decision: Decision

    @property
    def is_new(self) -> bool:
        """Whether the machine does not page before two watched days."""
        return self.decision.rule is Rule.FIRST_DAYS and not self.decision.counts

    @property
    def why_not(self) -> str | None:
        """Reason why the machine does not page; None for one that pages."""
        if self.decision.counts:
            return None
        return _REASONS.get(self.decision.rule) or (_NEW if self.is_new else _NOT_PERMANENT)


def decided_rows(rows: Iterable[TrackedEnvironment], monitor: Monitor, now: Clocks) -> list[DecidedRow]:
    """Return the rows by name, with the decisions."""
    judge = monitor.judge(now)
    return [DecidedRow(row, judge.decision_of(row)) for row in by_name(rows)]


def decisions_tally(rows: Sequence[DecidedRow]) -> SafeText:
    """Return the numbers: `31 machines page; not: 6 not up enough`."""
    counts = Counter(row.why_not for row in rows)
    counting = counts.pop(None, 0)
    order = (_NOT_PERMANENT, *_REASONS.values(), _NEW)
    parts = [f"{counts[reason]:,} {reason}" for reason in order if reason in counts]
    pages = f"{counted(counting, 'machine')} page{'s' if counting == 1 else ''}"
    return composed(f"{pages}{'; not: ' if parts else ''}{', '.join(parts)}")


def new_names(rows: Sequence[DecidedRow]) -> SafeText:
    """Return the names of at most eight new rows; empty without new rows."""
    names = [row.tracked.environment.label for row in rows if row.is_new]
    first = [shortened(name, _NAME_CELLS, keep="ends") for name in names[:_NAMES]]
    return composed(enumerated(first, len(names)) if names else "")


def decisions_table(rows: Sequence[DecidedRow], zone: tzinfo | None = None) -> list[tuple[SafeText, ...]]:
    """Return a table's cells, the titles first."""
    ambiguous = AmbiguousNames().among(row.tracked for row in rows)
    has_profiles = any(row.tracked.profile for row in rows)

    def cells_of(row: DecidedRow) -> Iterator[SafeText]:
        environment = row.tracked.environment
        tail = id_tail(environment.label, environment.id, ambiguous)
        yield composed(shortened(environment.label, _NAME_CELLS, keep="ends") + tail)
        if has_profiles:
            yield row.tracked.profile
        yield _NOTHING if row.tracked.up_share is None else share_text(row.tracked.up_share)
        yield decision_sentence(row.decision, row.tracked, zone)

    titles = ("NAME", *(["PROFILE"] if has_profiles else []), "UP7D", "WHY")
    return [tuple(map(clean, titles)), *(tuple(cells_of(row)) for row in rows)]


def decisions_json(rows: Iterable[DecidedRow], zone: tzinfo | None = None) -> bytes:
    """Return the decisions as a JSON array in UTF-8."""
    decisions = [
        {
            "id": row.tracked.environment.id,
            "name": row.tracked.environment.label,
            "profile": row.tracked.profile or None,
            "pages": row.decision.counts,
            "pages_by": row.decision.rule.value,
            "why": decision_sentence(row.decision, row.tracked, zone),
            "up7d": None if row.tracked.up_share is None else round(row.tracked.up_share, DECIMALS),
        }
        for row in rows
    ]
    return json.dumps(decisions, indent=2, ensure_ascii=False).encode() + b"\n"


def host_of(server: SafeText) -> str:
    """Return the host and port of a server, without a profile's path; words for an unknown server."""
    return server.partition("/")[0] or "the serving host"


def read_only_text(server: SafeText, silencing: str) -> SafeText:
    """Return why a token may not acknowledge, and the ways out; `silencing` names the key or command."""
    host = host_of(server)
    return composed(
        f"your token only reads: ask for the right `ack` at {host}; {silencing} silences on this machine,"
        f" {host} still pages"
    )


def still_paging(rows: Iterable[TrackedEnvironment], server_of: Callable[[SafeText], SafeText]) -> SafeText:
    """Return which serving hosts page about rows, whatever this machine does: `; watch:8283 still pages`."""
    paging = [row for row in rows if (each := shared_alerts_of(row.environment)) is not None and each.counts]
    hosts = sorted({host_of(server_of(row.profile)) for row in paging})
    if not hosts:
        return EMPTY
    return composed(f"; {enumerated(hosts, len(hosts))} still page{'s' if len(hosts) == 1 else ''}")


def answer_to_word(
    rows: Sequence[DecidedRow],
    changed_by: str,
    zone: tzinfo | None = None,
    server_of: Callable[[SafeText], SafeText] = lambda _: EMPTY,
) -> SafeText:
    """Return the result of a person's override; `server_of` returns the server of a profile."""
    if expected := [row.tracked for row in rows if row.decision.rule is Rule.EXPECT]:
        are, pages = ("is", "pages") if len(expected) == 1 else ("are", "page")
        return composed(f"{several_text(expected)} {are} in `expect`, and always {pages}")
    word = rows[0].decision.word
    name, verb = several_text([row.tracked for row in rows]), "pages" if len(rows) == 1 else "page"
    if word is None:
        return composed(f"the rules decide about {name} again: {decisions_text(rows, zone)}")
    said = f"{name} {'always' if word.is_always else 'never'} {verb}"
    shared = [row.tracked for row in rows if shared_alerts_of(row.tracked.environment) is not None]
    if not shared:
        return composed(f"{said} now: {changed_by} changes that")
    hosts = sorted({host_of(server_of(row.profile)) for row in shared})
    others = f"; {enumerated(hosts, len(hosts))} {'does' if len(hosts) == 1 else 'do'} not page"
    still = still_paging(shared, server_of) or others
    return composed(f"{said} now on this machine ({changed_by} changes that){still}")


def decisions_text(rows: Sequence[DecidedRow], zone: tzinfo | None = None) -> SafeText:
    """Return the decision about a machine, or how many of several page."""
    if len(rows) == 1:
        return decision_sentence(rows[0].decision, rows[0].tracked, zone)
    return composed(f"{sum(row.decision.counts for row in rows):,} of {len(rows):,} page")
