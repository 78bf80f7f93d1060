"""Settings, credentials, clients and logs of commands."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from envwatch.cli.arguments import GROUPS, Exit, Options, Parser, StopError, valued
from envwatch.cli.streams import print_error
from envwatch.config.values import ConfigError, past_end, seconds_text, zone_named
from envwatch.model.redactor import redactor
from envwatch.model.text import SafeText, clean
from envwatch.model.times import date_text, parse_moment, parse_past_moment, use_zone
from envwatch.watch.profiles import (
    Profiles,
    SelectedProfile,
    state_file,
    state_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.deliver.delivery import Delivery
    from envwatch.fleet.profile_state import Fleet
    from envwatch.query.language import Query
    from envwatch.views.table.table_view import NamedView
    from envwatch.watch.log import PollLog
    from envwatch.watch.state_file import StateFormat

_WITHOUT_SCREEN: Final = frozenset(GROUPS["Without a screen"])
"""Commands that ignore saved settings of the dashboard."""
_WITHOUT_LOG: Final = _WITHOUT_SCREEN - {"watch", "record", "serve", "metrics"}
"""Commands that log only with `--log-file`."""


def all_settings_for(
    options: Options, environ: Mapping[str, str] = os.environ, only: Iterable[str] | None = None
) -> list[Settings]:
    """Return the selected profiles' settings, and apply the first profile's time zone.

    `only` limits the settings that file and variables may set.
    """
    from envwatch.config.settings import read_settings

    found = read_settings(vars(options), environ, remembered=_remembered(options), only=only)
    zone = found[0].timezone
    use_zone(None if zone is None else zone_named(zone))
    return found


def future_moment(text: str) -> datetime:
    """Return the future moment of a text of `--until`; raise `StopError` if it has passed."""
    now = datetime.now(UTC)
    if (at := parse_moment(text, now)) is None or at <= now:
        raise StopError(Exit.USAGE, f"--until: {past_end(now)}")
    return at


def add_length(parser: Parser, otherwise: str = "") -> None:
    """Add `--for` and `--until` of acknowledgements and silences; `otherwise` says what holds without them."""
    from envwatch.config.values import duration, future
    from envwatch.model.acks import LONGEST_S, SHORTEST_S

    length = parser.add_mutually_exclusive_group()
    about = f"for this time: 30m, 4h, at most 31d{otherwise}"
    length.add_argument("--for", dest="lasts", **valued("TIME", duration(SHORTEST_S, LONGEST_S), about))
    about = "until this time: 10:00, '2026-11-25 15:30' or ISO 8601"
    length.add_argument("--until", **valued("TIME", future, about))


def lasts_in(options: Options) -> timedelta | None:
    """Return the duration of `--for` or `--until`, if any; raise `StopError` outside of a minute to 31 days."""
    from envwatch.model.acks import LONGEST_S, SHORTEST_S

    if (until := getattr(options, "until", None)) is None:
        lasts: timedelta | None = getattr(options, "lasts", None)
        return lasts
    lasts = future_moment(until) - datetime.now(UTC)
    if not SHORTEST_S <= lasts.total_seconds() <= LONGEST_S:
        bounds = f"{seconds_text(SHORTEST_S)} to {seconds_text(LONGEST_S)}"
        raise StopError(Exit.USAGE, f"--until: must be {bounds} from now; see `envwatch {options.command} --help`")
    return lasts


def past_moment(text: str) -> datetime:
    """Return an option's past moment in the settings' zone; raise `StopError` for a future moment."""
    now = datetime.now(UTC)
    if (at := parse_past_moment(text, now)) is None:
        here = date_text(now.timestamp() * 1000, None)
        raise StopError(Exit.USAGE, f"{clean(text)} has not come yet: here it is {here}")
    return at


def recorded_moment(profiles: Profiles, options: Options, name: str) -> datetime | None:
    """Return the past moment of the option `name`, if given; raise `StopError` without a history to read."""
    text = getattr(options, name)
    if text is None:
        return None
    if options.no_history or not any(each.settings.history for each in profiles.values()):
        raise StopError(Exit.USAGE, f"--{name} needs the history: set history = true, and leave out --no-history")
    return past_moment(text)


def read_display_settings(options: Options) -> Settings:
    """Return the default profile's settings; variables and file set only `DEMO_SETTINGS`."""
    from envwatch.config.declared import DEMO_SETTINGS
    from envwatch.config.settings import PROFILE

    environ = {name: value for name, value in os.environ.items() if name != PROFILE}
    (settings,) = all_settings_for(Options(**{**vars(options), "profile": None}), environ, only=DEMO_SETTINGS)
    return settings


def config_path_for(options: Options) -> tuple[Path, bool]:
    """Return the configuration file's path, and whether the user named the file."""
    from envwatch.config.settings import config_path

    return config_path(options.config, os.environ)


def _remembered(options: Options) -> dict[str, Any]:
    if options.command in _WITHOUT_SCREEN:
        return {}
    from envwatch.watch.state_file import remembered

    saved = remembered(state_file("state"))
    saved.pop("hints", None)  # the demo's hints are no setting
    if "columns" in saved:
        from envwatch.views.table.columns import is_column

        saved["columns"] = tuple(filter(is_column, saved["columns"]))
    return saved


def user_name() -> SafeText:
    """Return this process's user name, or else the uid."""
    import pwd

    try:
        return clean(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return clean(str(os.getuid()))


def profiles_for(options: Options, find: Callable[[Settings], Credentials] | None = None) -> Profiles:
    """Return the selected profiles; `find` replaces `credentials_for`."""
    from envwatch.fleet.events import NO_PROFILE

    all_settings = all_settings_for(options)
    found = [SelectedProfile((find or credentials_for)(each), each) for each in all_settings]
    return Profiles({clean(each.settings.profile) if len(found) > 1 else NO_PROFILE: each for each in found})


def view_for(options: Options, settings: Settings) -> NamedView:
    """Return the view of `--view`, or without the option the view of all rows.

    Raises:
        ConfigError: no view has the name.
        StopError: the view filters by recorded time, which only the dashboard knows.
    """
    from envwatch.config.settings import view_named
    from envwatch.views.table.table_view import NamedView, View

    if options.view is None:
        return NamedView(name="")
    view = view_named(settings, options.view, "--view")
    query = view.chosen(View()).query
    if query.needs_past:
        raise StopError(Exit.USAGE, f"--view: {query} needs the past, which only the dashboard knows")
    return view


def print_hint(query: Query, fleet: Fleet) -> bool:
    """Write `value_hint`, if any.

    Return False, without a hint, until each profile has a listing.
    """
    from envwatch.query.completion import value_hint

    if any(profile_state.listed is None for profile_state in fleet):
        return False
    if query.terms and (hint := value_hint(query, fleet.environments)) is not None:
        print_error(f"envwatch: {hint}")
    return True


def print_unmatched_filters(profiles: Profiles, fleet: Fleet) -> None:
    """Write a line for each filter of the file that finds no environment."""
    from envwatch.watch.file_filters import file_filters_of

    for line in file_filters_of(profiles).lines_of(fleet):
        print_error(f"envwatch: {line}")


def print_damage() -> None:
    """Write a line for each damaged file of decisions."""
    from envwatch.watch.state_file import ACKNOWLEDGEMENTS, SILENCES, WORDS

    for name, state_format in (("acknowledged", ACKNOWLEDGEMENTS), ("silences", SILENCES), ("alerts-by-hand", WORDS)):
        path = state_file(name)
        with suppress(OSError):
            if (loss := state_format.loss(state_format.read(path))) is not None:
                print_error(f"envwatch: {loss} ({path})")


def credentials_for(settings: Settings, prompt: Callable[[], str] | None = None) -> Credentials:
    """Return a profile's key and address; the redactor learns the key."""
    from envwatch.config.credentials import NO_KEY
    from envwatch.watch.clients import find_credentials

    try:
        return find_credentials(settings, prompt)
    except KeyboardInterrupt:
        raise StopError(Exit.INTERRUPTED, NO_KEY if prompt else "") from None


def keep_changes(name: str, state_format: StateFormat, changes: Mapping[Any, Any]) -> None:
    """Change a state file; raise `StopError` if writing fails."""
    from envwatch.watch.state_file import merge

    path = state_file(name)
    try:
        aside = merge(path, state_format, changes)
    except OSError as error:
        raise StopError(Exit.FAILED, f"cannot keep it: {error.strerror} ({os.fspath(path)})") from None
    if aside is not None:
        print_error(f"envwatch: set aside what was damaged: {aside}")


def poll_log_for(options: Options, notify: Callable[[str], None] = lambda _line: None) -> PollLog:
    """Return a command's log; `notify` gets a line, in any thread, if writing fails."""
    import logging
    from pathlib import Path

    from envwatch.watch.log import PollLog

    path = None
    if options.log_level != "off":
        if options.log_file is not None:
            path = Path(options.log_file)
        elif options.command not in _WITHOUT_LOG:
            path = state_folder() / "envwatch.log"
    least = logging.INFO if options.log_level == "off" else logging.getLevelNamesMapping()[options.log_level.upper()]
    return PollLog(path, redactor(), least=least, follows_link=options.log_file is not None, notify=notify)


def report_crash(error: BaseException, poll_log: PollLog) -> Exit:
    """Report a crash to log and standard error; return the exit code."""
    poll_log.write_crash(error)
    poll_log.close()
    columns, lines = shutil.get_terminal_size()
    for line in poll_log.screen_report(error, columns=columns, lines=lines):
        print_error(line)
    return Exit.FAILED


def deliveries_for(settings: Settings, options: Options) -> Mapping[SafeText, Delivery]:
    """Return the prepared deliveries of the configured hooks, by name.

    Raises:
        ReportedError: there is no hook, or every hook is unusable.
    """
    from envwatch.deliver.delivery import prepare_all, unusable_hooks

    mistakes = settings.hook_mistakes
    if not settings.hooks and not mistakes:
        path, _ = config_path_for(options)
        raise StopError(
            Exit.USAGE, f"there are no hooks: {path} has no [[hooks]]; `envwatch config init` explains hooks"
        )
    deliveries = prepare_all(settings.deliveries, os.environ, settings.secret_variables)
    unusable = unusable_hooks(deliveries)
    if len(unusable) == len(deliveries):
        raise ConfigError(*mistakes, *unusable)
    return deliveries


def show_line(line: str) -> None:
    """Write a line for people to standard error."""
    print_error(f"envwatch: {clean(line)}")
