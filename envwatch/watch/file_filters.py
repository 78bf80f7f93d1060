"""Filters of the configuration file that find no environment.

An alert that matches nobody pages nobody, so such a filter is named, once.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from envwatch.model.text import SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from envwatch.config.settings import Settings
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.watch.profiles import Profiles, SelectedProfile


class _FileFilter(NamedTuple):
    query: str
    what: SafeText
    """The place, such as `alert` or `hook pager`."""
    profiles: list[SafeText]
    """Profiles as named in rows, whose rows the filter is for."""


class FileFilters:
    """The filters of `alert`, hooks and recurring silences; equal filters are one, for the rows of all their profiles.

    `all_settings` has the settings by the profile in rows.
    """

    def __init__(self, all_settings: Mapping[SafeText, Settings]) -> None:
        found: dict[tuple[str, str], _FileFilter] = {}
        has_hooks = _are_all_profiles(all_settings.values())
        for profile, settings in all_settings.items():
            if _is_narrowed(settings):
                continue
            for what, query in _filters_in(settings, has_hooks=has_hooks):
                kind = what.partition("-")[0]
                kept = found.setdefault((kind, query), _FileFilter(query, composed(what), []))
                kept.profiles.append(profile)
        self._names = {profile: clean(settings.profile) for profile, settings in all_settings.items()}
        self._pending = [*found.values()]

    def lines_of(self, fleet: Fleet) -> list[SafeText]:
        """Return a line for each filter that finds nothing, after the first listing of all its profiles."""
        if not self._pending:
            return []
        states = fleet.by_profile
        return self.lines(
            {name: state.environments.values() for name, state in states.items() if state.listed is not None}
        )

    def lines(self, rows: Mapping[SafeText, Iterable[TrackedEnvironment]]) -> list[SafeText]:
        """Return a line for each filter that finds nothing and whose profiles all have `rows`, each filter once."""
        due = [each for each in self._pending if rows.keys() >= {*each.profiles}]
        self._pending = [each for each in self._pending if each not in due]
        texts = [(each.what, self._unmatched(each, rows)) for each in due]
        return [composed(f"{what}: {text}") for what, text in texts if text is not None]

    def _unmatched(self, one: _FileFilter, rows: Mapping[SafeText, Iterable[TrackedEnvironment]]) -> SafeText | None:
        from envwatch.query.completion import unmatched_filter
        from envwatch.query.language import parse
        from envwatch.views.table.columns import SEARCHED

        environments = chain.from_iterable(rows[profile] for profile in one.profiles)
        return unmatched_filter(parse(one.query), environments, self._names[one.profiles[0]], SEARCHED)


def known_rows(name: SafeText, profile: SelectedProfile) -> Sequence[TrackedEnvironment]:
    """Return the rows of the newest recorded listing, or else of the alert state; none if there is neither."""
    from envwatch.alerts.alert_state import alert_state
    from envwatch.letta.poller import read_clocks
    from envwatch.watch.alert_files import last_moment
    from envwatch.watch.profiles import alert_file_for
    from envwatch.watch.state_file import ALERT_STATE

    if (moment := last_moment(profile.history_folder, name)) is not None:
        return [*moment.profile_state.environments.values()]
    state = alert_state(ALERT_STATE.read_or_empty(alert_file_for(*profile)), name, read_clocks())
    return [] if state is None else [*state.last_run.rows.values()]


def file_filters_of(profiles: Profiles) -> FileFilters:
    """Return the filters of the watched profiles."""
    return FileFilters({name: settings for name, (_, settings) in profiles.items()})


def _are_all_profiles(all_settings: Collection[Settings]) -> bool:
    """Whether no profile of the file is left out, whose machines a hook may mean."""
    documents = [settings.document for settings in all_settings if settings.document is not None]
    return not documents or {*documents[0].config.profiles} <= {settings.profile for settings in all_settings}


def _is_narrowed(settings: Settings) -> bool:
    """Whether listings lack rows that the filters are for."""
    return settings.online_only or any(settings.origin(name).startswith("--") for name in ("source", "user"))


def _filters_in(settings: Settings, *, has_hooks: bool) -> Iterator[tuple[str, str]]:
    if settings.alert:
        yield "alert", settings.alert
    if has_hooks:
        yield from ((f"hook {hook.name}", hook.filter) for hook in settings.hooks if hook.filter)
    yield from ((f"silence-{number}", each.filter) for number, each in enumerate(settings.silences, 1) if each.filter)
