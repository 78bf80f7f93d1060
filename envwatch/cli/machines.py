"""The machines that a command line names, by `[NAME|QUERY]`, `--name` or `--filter`: one grammar for all commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.cli.arguments import Exit, Options, StopError, check_query
from envwatch.cli.streams import print_error
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted, enumerated, shortened
from envwatch.query.language import Query, Term, TextTerm, name_query, parse, parse_argument
from envwatch.query.lexer import normalize, quote_if_needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.fields import Value
    from envwatch.watch.profiles import Profiles

_NAMES: Final = 10
_NAME_CELLS: Final = 40


class Target(NamedTuple):
    """What a command line names."""

    query: Query
    """Empty if the command line names no machine."""
    text: SafeText
    """As typed."""
    is_literal: bool = False
    """Whether `--name` chooses: the text is no other id."""

    @property
    def names(self) -> Sequence[Value]:
        """Whole names and ids, each of which must be of one machine."""
        values = (value for term in self.query.terms if isinstance(term, Term) for value in term.values)
        return [value for value in values if value.whole_name]

    @property
    def is_query(self) -> bool:
        """Whether the form is a `*`, a field, a `!` or `--filter`, which may find more machines tomorrow."""
        return len(self.names) < len(self.query.terms)


def find_target(options: Options, argument: str = "NAME|QUERY", *, is_required: bool = True) -> Target:
    """Return the machines that a command line names; `argument` names the positional in messages.

    An empty `--filter` names none: a variable without a value must not mean every machine.

    Raises:
        StopError: for a mistake.
    """
    typed: str | list[str] = getattr(options, "machines", [])
    texts = [typed] if isinstance(typed, str) else typed
    name: str | None = getattr(options, "name", None)
    if options.filter:
        if texts or name is not None:
            raise StopError(Exit.USAGE, f"name the machines once: by {argument} and --name, or by --filter")
        return Target(parse(options.filter), clean(options.filter))
    if is_required and not texts and name is None:
        command = " ".join(filter(None, (options.command, getattr(options, "action", None))))
        raise StopError(Exit.USAGE, f"{argument} is missing; see `envwatch {command} --help`")
    for text in texts:
        check_query(text, argument, is_positional=True)
    queries = [*([] if name is None else [name_query(name)]), *map(parse_argument, texts)]
    terms = tuple(term for query in queries for term in query.terms)
    typed_text = composed(" ".join(map(clean, [*([] if name is None else [name]), *texts])))
    return Target(Query(terms), typed_text, is_literal=name is not None)


def id_begun(typed: str, known: Iterable[SafeText], what: str) -> SafeText:
    """Return the only known id that begins with a text, or is the text; empty without one.

    Raises:
        StopError: several begin so; the message has them.
    """
    ids = sorted(set(known))
    found = [typed] if typed in ids else [each for each in ids if typed and each.startswith(typed)]
    if len(found) > 1:
        raise StopError(Exit.USAGE, f"{len(found)} {what}s begin with {clean(typed)}: {', '.join(found)}")
    return clean(found[0]) if found else EMPTY


def is_machine(target: Target, fleet: Fleet) -> bool:
    """Whether the target is a name or id of a machine."""
    return not target.is_query and any(_named(value, fleet) for value in target.names)


def refuse_shared_names(target: Target, fleet: Fleet) -> None:
    """Raise `StopError` if several machines share a name of the command line."""
    for value in target.names:
        _named(value, fleet)


def chosen_rows(target: Target, monitor: Monitor, profiles: Profiles) -> Sequence[TrackedEnvironment]:
    """Return the machines that an action acts on.

    Raises:
        StopError: there is none, or machines share a name.
    """
    from envwatch.views.table.table_view import by_name
    from envwatch.watch.one_listing import matching_rows

    refuse_shared_names(target, monitor.fleet)
    if not target.is_query:
        if found := [row for value in target.names for row in _named(value, monitor.fleet)]:
            if len({monitor.fleet.server_of(row.profile) for row in found}) > 1:
                line = f"several profiles have a machine {target.text}: choose one with --profile"
                raise StopError(Exit.USAGE, line)
            return found
    elif found := by_name(matching_rows(target.query, monitor, profiles)):
        return found
    raise _unmatched(target, monitor.fleet)


def _named(value: Value, fleet: Fleet) -> list[TrackedEnvironment]:
    """Return a machine by its id, or else its name; it may stand in several profiles."""
    rows, sought = [*fleet.environments], value.whole_name
    found = [row for row in rows if normalize(row.environment.id) == sought] or [
        row for row in rows if normalize(row.environment.label) == sought
    ]
    found = [row for row in found if row.replaced_by is None] or found
    ids = sorted({row.environment.id for row in found})
    if len(ids) > 1:
        called = f"{len(ids):,} machines are called {found[0].environment.label}"
        raise StopError(Exit.USAGE, f"{called}: name one by its id: {', '.join(ids)}")
    return found


def _unmatched(target: Target, fleet: Fleet) -> StopError:
    from envwatch.query.completion import near_names, value_hint

    rows = [*fleet.environments]
    nearest = near_names(target.query, rows)
    if nearest is None and (hint := value_hint(target.query, rows)) is not None:
        return StopError(Exit.USAGE, hint)
    missing = f"no machine is called {target.text}"
    unmatched = f"{target.text} matches none of {counted(len(rows), 'machine')}"
    remedy = nearest or "`envwatch list` prints all"
    return StopError(Exit.USAGE, f"{unmatched if target.is_query else missing}; {remedy}")


def kept_query(target: Target, fleet: Fleet) -> Query:
    """Return the query to keep in a file, where a name is no id."""
    labels = {normalize(row.environment.label) for row in fleet.environments}
    ids = {normalize(row.environment.id): row.environment.id for row in fleet.environments}

    def kept(term: TextTerm | Term) -> str:
        name = term.values[0].whole_name if isinstance(term, Term) else ""
        return f"id:{quote_if_needed(ids[name])}" if name in ids and name not in labels else str(term)

    return parse(" ".join(map(kept, target.query.terms)))


def print_choice(target: Target, rows: Sequence[TrackedEnvironment], of: str, unknown: str = "") -> None:
    """Write on which machines an action acts; `of` follows their number, `unknown` says why there may be more."""
    from envwatch.views.table.table_view import AmbiguousNames, id_tail

    twins, names = AmbiguousNames().among(rows), list[SafeText]()
    for row in (row.environment for row in rows):
        name = shortened(row.label, _NAME_CELLS, keep="ends")
        names.append(composed(f"{name}{id_tail(row.label, row.id, twins)}"))
    text = f"{target.text} matches {len(names) or 'none'} {of}"
    text += f": {enumerated(names[:_NAMES], len(names))}" if names else ""
    print_error(f"{text}, and may match more machines: {unknown}" if unknown else text)


def confirm(target: Target, options: Options, verb: str, past: str, count: int | None) -> None:
    """Ask before an action on the machines of a query; `count` is None for an unknown number.

    The form decides, not the number: a script must not stop when a second machine appears.

    Raises:
        StopError: without consent, or without a terminal and `--yes`.
    """
    if not target.is_query or getattr(options, "yes", False):
        return
    if not all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__)):
        line = f"{target.text} may match other machines tomorrow: {verb} them with --yes, or name one machine"
        raise StopError(Exit.USAGE, line)
    what = "what matches" if count is None else counted(count, "machine")
    print_error(f"{verb.capitalize()} {what}? [y/N] ", end="")
    if (sys.__stdin__.readline() if sys.__stdin__ else "").strip().casefold() not in {"y", "yes"}:
        raise StopError(Exit.FAILED, f"nothing is {past}")
