"""Environments as bytes, for programs and for people."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, timedelta
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

from envwatch.alerts.alert_policy import decision_sentence
from envwatch.fleet.presence import UNTIMED, Presence, Reason, heartbeat_age
from envwatch.model.environment import API_FIELDS, NEVER, OUTPUT_NAMES, Environment, ValueKind, whole_if_exact
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import EMPTY, SafeText, cells, clean, composed, counted, csv_cell, fitted, named_ids, shortened
from envwatch.model.times import MS, NOTHING, long_age, moment, short_age, span
from envwatch.query.presentation import PRESENTATIONS, TIMELESS
from envwatch.query.state_looks import PRESENCE_STYLES, style_of
from envwatch.views.fitting import steady_width
from envwatch.views.state_style import UNKNOWN_STATE, painted, state_word
from envwatch.views.table.block_text import counts_text
from envwatch.views.table.columns import META, column_of, metadata_value
from envwatch.views.table.table_view import AmbiguousNames, id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from envwatch.query.presentation import RowContext
    from envwatch.views.output.environment_list import EnvironmentList, ListedEnvironment
    from envwatch.views.table.block import Block

_UNKNOWN_REASON: Final = clean("cannot be known")


def listing_json(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield a JSON document in UTF-8, row by row, because 100,000 rows would fill 200 MiB."""
    counts = listing.counts()
    document: dict[str, object] = {
        "taken_at": iso(listing.taken_at),
        "complete": listing.is_complete,
        "filter": listing.filter,
        "preset": listing.preset,
        "total_unfiltered": len(listing.rows) + listing.hidden,
        "counts": {state: counts[state] for state in _STATES} | {"total": len(listing.rows)},
        "set_aside": {"total": listing.rejected, "ids": sorted(listing.rejected_ids)},
        "environments": [],
    }
    start, end = to_json(document, indent=2).rsplit(b"]", 1)
    yield start
    for number, row in enumerate(_rows(listing)):
        yield (b",\n    " if number else b"\n    ") + to_json(row, indent=2).replace(b"\n", b"\n    ")
    yield (b"\n  ]" if listing.rows else b"]") + end + b"\n"


def encode_row(listing: EnvironmentList) -> str:
    """Return a list's only environment as a JSON object."""
    (row,) = _rows(listing)
    return to_json(row, indent=2).decode()


def encode_jsonl(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield each environment as a line of JSON in UTF-8."""
    for row in _rows(listing):
        yield to_json(row) + b"\n"


def encode_csv(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield CSV in UTF-8: the fields of the JSON, nested fields as JSON, empty for null.

    No cell is a formula to a spreadsheet.
    """
    yield _csv_line(map(clean, listing.columns) if listing.columns else ROW_NAMES)
    for row in _rows(listing):
        yield _csv_line(_csv_cell(value) for value in row.values())


def listing_names(listing: EnvironmentList) -> Iterator[bytes]:
    """Yield each environment's name, or else the id, as a line in UTF-8."""
    for row in listing.rows:
        yield f"{row.tracked.environment.label}\n".encode()


def prompt_line(listing: EnvironmentList, *, label: SafeText, age: timedelta, encoding: str, ascii_only: bool) -> bytes:
    """Return a line for a prompt or a status bar.

    Rows that cannot be read or judged count as unknown. `?` marks a profile without a listing.
    """
    block = replace(listing.block, unknown=listing.block.unknown + listing.rejected)
    parts: list[str] = [counts_text(block, ascii_only=ascii_only, has_online=True)]
    parts += [label, *(f"{profile}?" for profile in listing.unlisted), short_age(age)]
    return f"{' '.join(filter(None, parts))}\n".encode(encoding, "backslashreplace")


def listing_table(
    listing: EnvironmentList, *, width: int | None, encoding: str, ascii_only: bool, has_colours: bool = False
) -> Iterator[bytes]:
    r"""Yield the lines of an aligned table for people.

    The rightmost columns are dropped to leave names `_NAME_AT_LEAST` cells or a part (`_NAME_PART`) of the width. A
    name is never shorter than in a narrower terminal. A `width` of None has no limit. Characters outside `encoding`
    become `\x…`; `ascii_only` concerns glyphs and marks, not names.
    """
    nothing = "-" if ascii_only else NOTHING
    ellipsis = ".." if ascii_only else "…"
    separator = " - " if ascii_only else " · "

    def encodable(text: str | None) -> SafeText:
        return composed((text or nothing).encode(encoding, "backslashreplace").decode(encoding))

    has_profiles = any(row.tracked.profile for row in listing.rows)
    ids = [id_ for id_ in listing.columns or _COLUMNS if id_ not in _AT_LEFT and (has_profiles or id_ != "profile")]
    columns = [column_of(id_) for id_ in ids]
    place_of_remark = ids.index("why") if "why" in ids else None
    names = AmbiguousNames().among(row.tracked for row in listing.rows)

    def line_of_row(row: ListedEnvironment) -> tuple[list[SafeText], SafeText, str]:
        style, environment = style_of(row.tracked, is_unknown=row.is_unknown), row.tracked.environment
        word = state_word(row.tracked, is_unknown=row.is_unknown)
        state = f"{style.ascii if ascii_only else style.glyph} {word}"
        remark = listing.remarks.get(row.tracked.key)
        context = listing.context_of(row)
        others = [column.cell_text(row.tracked, context) for column in columns]
        if remark is not None and place_of_remark is not None:
            others[place_of_remark] = composed(separator.join(filter(None, (others[place_of_remark], remark))))
        tail = id_tail(environment.label, environment.id, names)
        tail = encodable(tail) if tail else EMPTY
        name = shortened(encodable(environment.label), _WIDEST_NAME - cells(tail), keep="ends", ellipsis=ellipsis)
        seen = _seen_text(row)
        is_open = row.tracked.key in listing.block.keys and remark is None
        look = "gone" if style.style == "offline" and not is_open else style.style
        return [encodable(state), encodable(seen), composed(name + tail), *map(encodable, others)], tail, look

    titles = [clean("STATE"), clean("SEEN"), clean("NAME"), *(encodable(column.title) for column in columns)]
    table = [(titles, EMPTY, "plain"), *map(line_of_row, listing.rows)]
    widths = [max(map(cells, column)) for column in zip(*(texts for texts, _, _ in table), strict=True)]
    if width is not None:
        widths = _fitting(widths, width)

    def drawn(texts: Sequence[SafeText], tail: SafeText) -> SafeText:
        (state, seen, name, *others), (for_state, for_seen, for_name, *rooms) = texts, widths
        room = max(for_name - cells(tail), 1)
        name = shortened(composed(name.removesuffix(tail)), room, keep="ends", ellipsis=ellipsis)
        fields = [
            fitted(state, for_state),
            fitted(seen, for_seen, align="right"),
            fitted(composed(name + tail), for_name, ellipsis=ellipsis),
        ]
        fitting = zip(others, rooms, columns, strict=False)
        fields += [fitted(cell, room, keep=column.keep, ellipsis=ellipsis) for cell, room, column in fitting]
        text = composed(_GAP.join(fields).rstrip(" "))
        return text if width is None else shortened(text, width, ellipsis=ellipsis)

    for texts, tail, style in table:
        text: str = drawn(texts, tail)
        if has_colours and text.startswith(state := texts[0]):
            text = painted(state, style) + text.removeprefix(state)
        yield f"{text}\n".encode(encoding)


def summary_of(listing: EnvironmentList, host: str, old: timedelta | None = None) -> str:
    """Return a line for people: counts and caveats, in ASCII except for the host.

    `old` is the listing's age unless recent.
    """
    counts = ", ".join(f"{count:,} {word}" for count, word in _counted(listing.block))
    caveats = ""
    if listing.rejected:
        named = named_ids(listing.rejected_ids, listing.rejected)
        caveats += f"; incomplete: {counted(listing.rejected, 'machine')} could not be read{named}"
    if listing.untimed:
        caveats += f"; incomplete: {counted(listing.untimed, 'machine')} whose heartbeat's time cannot be true"
    if listing.unlisted:
        caveats += f"; incomplete: not listed yet: {', '.join(listing.unlisted)}"
    if old is not None:
        caveats += f"; the data is {long_age(old)} old"
    if not listing.is_by_server_clock and not listing.clock_warnings:
        caveats += "; ages are by this machine's clock: no response had a Date header"
    total = counted(len(listing.rows) + listing.hidden, "machine")
    matching = "" if listing.filter is None and listing.preset is None else f"{len(listing.rows):,} of "
    return f"{matching}{total} at {host}: {counts}{caveats}"


def _counted(block: Block) -> Iterator[tuple[int, str]]:
    for presence in (Presence.OFFLINE, Presence.GONE, Presence.LATE, Presence.ONLINE):
        count = block.presences.get(presence, 0)
        if count or presence is Presence.ONLINE:
            yield count, PRESENCE_STYLES[presence].word
    counts = [(block.unknown, "unknown"), *block.aside_counts]
    yield from ((count, word) for count, word in counts if count)


def _seen_text(row: ListedEnvironment) -> SafeText | None:
    """Return the time since the last sign of life, to the second: a listing is printed once."""
    seen_at = row.tracked.environment.last_seen_alive_at
    return None if seen_at == NEVER else short_age(span(row.judged_at - seen_at))


_AT_LEFT: Final = frozenset({"state", "seen", "name"})
_COLUMNS: Final = ("profile", "why", "mode", "version", "branch", "os")
_STATES: Final = (Presence.ONLINE, Presence.LATE, Presence.OFFLINE, Presence.GONE, UNKNOWN_STATE)
_GAP: Final = "  "
_WIDEST_NAME: Final = 40
"""A UUID with a prefix and a part of the id fits."""
_NAME_AT_LEAST: Final = 20
"""A name keeps this many cells: rule 8 of the screen."""
_NAME_PART: Final = 3
"""A name keeps this part of the terminal: a third."""
_WIDEST_OTHER: Final = 30


def _fitting(widths: Sequence[int], terminal: int) -> list[int]:
    state, seen, name, *others = widths
    others = [min(other, _WIDEST_OTHER) for other in others]
    before_name = state + seen + 2 * len(_GAP)

    def goal(columns: int) -> int:
        return min(name, max(_NAME_AT_LEAST, columns // _NAME_PART))

    def chosen(columns: int) -> tuple[int, int]:
        left, count = columns - before_name, 0
        for other in others:
            if left - len(_GAP) - other < goal(columns):
                break
            left, count = left - len(_GAP) - other, count + 1
        return count, left

    count, _ = chosen(terminal)
    for_name = steady_width(terminal, lambda columns: min(name, chosen(columns)[1]), goal)
    return [state, seen, for_name, *others[:count]]


def _rows(listing: EnvironmentList) -> Iterator[dict[str, object]]:
    for row in listing.rows:
        if listing.columns:
            context = listing.context_of(row)
            yield {clean(id_): _value(row, id_, context) for id_ in listing.columns}
        else:
            yield json_row(row, listing.acknowledged.get(row.tracked.key))


def _value(row: ListedEnvironment, column: str, context: RowContext) -> object:
    if column.startswith(META):
        return metadata_value(column)(row.tracked)
    if column == "state":
        return row.state
    if column == "seen":
        return _seen_text(row)
    return column_of(column).cell_text(row.tracked, context)


_COMPUTED: Final = {each.id: each.number for each in PRESENTATIONS.values() if each.in_json and each.number}
"""Readers of computed numbers."""
_AFTER: Final = {
    "listener_instance_id": ("state", "reason", "heartbeat_age_s"),
    "metadata": ("profile", "acknowledged", "last_state"),
    "unknown": ("pages", "pages_by", "why", *_COMPUTED),
}
"""Computed values that follow a field of the API."""
ROW_NAMES: Final = tuple(chain.from_iterable((name, *_AFTER.get(name, ())) for name in OUTPUT_NAMES))
"""The names, order and types are a stable interface of every format for programs."""
DECIMALS: Final = 4
_EMPTY_ROW: Final[Mapping[str, object]] = dict.fromkeys(ROW_NAMES)
_INSTANTS: Final = [each.name for each in API_FIELDS.values() if each.kind is ValueKind.INSTANT]
_NUMBERS: Final = [each.name for each in API_FIELDS.values() if each.kind is ValueKind.NUMBER]
_values_of: Final[Callable[[Environment], tuple[object, ...]]] = attrgetter(*OUTPUT_NAMES)


def json_row(row: ListedEnvironment, note: SafeText | None = None) -> dict[str, object]:
    """Return an environment's fields by `ROW_NAMES`, with instants in ISO 8601 (UTC, milliseconds).

    * `reason` is the state's reason, `replaced by NAME`, or for a silenced down row `silenced until 10:00`.
    * `mode` is as received, including names of older listeners.
    * With several profiles, ids are unique only within `profile`.
    * `acknowledged` is `note`, or the serving host's acknowledgement.
    """
    tracked = row.tracked
    environment = tracked.environment
    age = heartbeat_age(environment, row.judged_at)
    if note is None and (shared := shared_ack_of(environment)) is not None:
        note = shared.text
    values = {**_EMPTY_ROW, **dict(zip(OUTPUT_NAMES, _values_of(environment), strict=True))}
    for name in _INSTANTS:
        values[name] = iso(getattr(environment, name))
    for name in _NUMBERS:
        values[name] = whole_if_exact(values[name])
    values["state"] = row.state
    values["reason"] = _reason(row)
    # Cut, not rounded: 119.9996 s is not yet the 120 of an offline row.
    values["heartbeat_age_s"] = None if age is None else age // MS / 1000
    values["profile"] = tracked.profile or None
    values["acknowledged"] = note
    values["last_state"] = tracked.presence.value if row.is_unknown and tracked.verdict != UNTIMED else None
    if row.decision is not None:
        values["pages"], values["pages_by"] = row.decision.counts, row.decision.rule.value
        values["why"] = decision_sentence(row.decision, tracked)
    moment = TIMELESS._replace(at=row.judged_at)
    for name, number_of in _COMPUTED.items():
        number = number_of(tracked, moment)
        values[name] = None if number is None else round(number, DECIMALS)
    return values


def _reason(row: ListedEnvironment) -> str:
    if row.tracked.has_impossible_time:
        return Reason.UNTIMED.value
    return _UNKNOWN_REASON if row.is_unknown else row.silenced or row.tracked.reason


def iso(at: float | None) -> str | None:
    """Return an instant in ISO 8601 (UTC, milliseconds); None outside the calendar."""
    when = moment(at, UTC)
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv_line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _csv_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return csv_cell(composed(value))
        case float():
            return str(value)
        case _:
            return to_json(value).decode()
