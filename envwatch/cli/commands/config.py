"""`envwatch config`: shows settings, and checks the configuration file."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import QUERY_OPTIONS, Exit, Options, Parser, StopError
from envwatch.cli.bootstrap import all_settings_for, config_path_for, credentials_for
from envwatch.cli.streams import print_error, write, write_json
from envwatch.config.values import ConfigError
from envwatch.model.redactor import ReportedError, redactor
from envwatch.model.text import SafeText, clean
from envwatch.watch.profiles import SelectedProfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.schema import Document
    from envwatch.config.settings import Settings
    from envwatch.fleet.tracking import TrackedEnvironment

_SETTINGS: Final = ("interval", "profile", "view", *QUERY_OPTIONS)

_ACTIONS: Final = {
    "show": "print what is in force and where it comes from, without the key",
    "validate": "check the file: a line for each mistake, and exit code 2",
    "init": "write a new file that explains every setting; never overwrites",
    "path": "print the path of the file",
    "schema": "print the JSON schema of the file, for editors",
}
_EXAMPLES: Final = {
    "show": {
        "envwatch config show": "your settings",
        "envwatch config show --profile work": "those of a profile",
        "envwatch config show -o json": "for a program",
    },
    "validate": {
        "envwatch config validate": "is the file right?",
        "envwatch config validate --config new.toml": "before you use it",
        "envwatch config validate -o json": "for a program",
    },
    "init": {
        "envwatch config init": "in the usual place",
        "envwatch config init --config new.toml": "somewhere else",
        "envwatch config init --config work.toml && ls -l": "only you can read it",
    },
    "path": {
        "envwatch config path": "where is it?",
        'cat "$(envwatch config path)"': "read it",
        'cp "$(envwatch config path)" backup.toml': "copy it",
    },
    "schema": {
        "envwatch config schema": "print it",
        "envwatch config schema > envwatch.schema.json": "for your editor",
        "envwatch config schema | diff envwatch.schema.json -": "did it change?",
    },
}


def add_arguments(parser: Parser) -> None:
    """Add arguments."""
    parser.description = "Show the settings and where they come from, or check the file. Only `init` writes it."
    parser.examples = {
        "envwatch config init": "a new file that explains every setting",
        "envwatch config validate": "is the file right?",
        "envwatch config show": "what is in force, and why?",
    }
    parser.add_shared(*_SETTINGS, "config")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    for action, summary in _ACTIONS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        action_parser = actions.add_parser(action, help=summary, description=description, examples=_EXAMPLES[action])
        if action in {"show", "validate"}:
            action_parser.add_output("table" if action == "show" else "text", "json")
        action_parser.add_shared(*_SETTINGS if action == "show" else (), "config")


def run(options: Options) -> int:
    """Run an action."""
    path, _ = config_path_for(options)
    match options.action:
        case "path":
            write(os.fsencode(path) + b"\n")
        case "schema":
            from envwatch.config.schema import schema

            write_json(schema())
        case "init":
            _init(path)
        case "validate":
            return _validate(options, path)
        case _:
            _show(options, path)
    return Exit.FINE


def _show(options: Options, path: Path) -> None:
    from envwatch.config.describe import settings_json, settings_table

    found = [(settings, _credentials(settings), path) for settings in all_settings_for(options)]
    if options.output == "json":
        write_json([settings_json(*each) for each in found])
    else:
        write(redactor()("\n".join(settings_table(*each) for each in found)).encode())


def _credentials(settings: Settings) -> Credentials | str:
    try:
        return credentials_for(settings)
    except ReportedError as stop:
        return str(stop)


def _init(path: Path) -> None:
    from envwatch.config.describe import starter
    from envwatch.files import make_private_folder, write_private

    try:
        make_private_folder(path.parent)
        write_private(path, starter().encode())
    except FileExistsError:
        how = "move it away first, or name another file with --config"
        raise StopError(Exit.FAILED, f"{path} exists and is not overwritten: {how}") from None
    except OSError as error:
        raise StopError(Exit.FAILED, f"{path} cannot be written: {error.strerror}") from None
    write(os.fsencode(path) + b"\n")
    print_error("every setting is commented out: edit the file, then run `envwatch config validate`")


def _validate(options: Options, path: Path) -> int:
    from envwatch.config.describe import checked_text, warnings_about

    document, mistakes = document_and_all_mistakes(options)
    warnings = list[SafeText]()
    if document is not None and not mistakes:
        warnings += warnings_about(document)
        warnings += _places_not_ready(document, os.environ)
        warnings += _unmatched_filters(options)
    if options.output == "json":
        write_json({"config": str(path), "exists": path.exists(), "mistakes": [*mistakes], "warnings": warnings})
        return Exit.USAGE if mistakes else Exit.FINE
    for line in (*mistakes, *warnings):
        print_error(f"envwatch: {line}")
    if mistakes:
        return Exit.USAGE
    what = "the file does not exist, and none is needed; `envwatch config init` writes the file"
    print_error(f"{path}: {checked_text(document, os.environ) if document else what}")
    return Exit.FINE


def document_and_all_mistakes(options: Options) -> tuple[Document | None, tuple[SafeText, ...]]:
    """Return the file, and a line for each mistake in file, variables and options, also of profiles not in use."""
    from envwatch.config.describe import mistakes_in
    from envwatch.config.settings import document_and_mistakes, mistakes_in_variables

    path, is_named = config_path_for(options)
    document = None
    try:
        document, mistakes = document_and_mistakes(path, must_exist=is_named)
    except ConfigError as error:
        mistakes = error.lines
    if document is not None:
        mistakes = mistakes_in(document, mistakes, _mistakes_outside)
    mistakes += mistakes_in_variables(os.environ, document, path)
    return document, mistakes or tuple(_mistakes_in_force(options))


def _mistakes_in_force(options: Options) -> Iterator[SafeText]:
    try:
        found = [mistake for settings in all_settings_for(options) for mistake in _mistakes_outside(settings)]
    except ConfigError as error:
        yield from error.lines
    else:
        yield from map(clean, dict.fromkeys(found))


def _places_not_ready(document: Document, environ: Mapping[str, str]) -> tuple[SafeText, ...]:
    """Return a line for each variable, program and address that cannot be used with this environment.

    No mistakes of the file: a service has other variables than a shell.
    """
    from envwatch.config.describe import in_order, settings_in
    from envwatch.deliver.delivery import WHERE_IT_RUNS, find_ping, prepare_all
    from envwatch.letta.network_settings import SettingsError

    found = list[str]()
    for settings in settings_in(document):
        variable = settings.api_key_env
        if variable is not None and not environ.get(variable, "").strip():
            found.append(f"{settings.origin('api_key_env')}: api_key_env: {variable} is not set: {WHERE_IT_RUNS}")
        try:
            find_ping(settings.ping_url, settings.ping_url_env, environ)
        except SettingsError as error:
            name = "ping_url" if settings.ping_url_env is None else "ping_url_env"
            found.append(f"{settings.origin(name)}: {error}: {WHERE_IT_RUNS}")
    settings = next(settings_in(document))  # every profile has the same hooks
    for hook, delivery in prepare_all(settings.deliveries, environ, settings.secret_variables).items():
        place = settings.origin(f"hooks.{hook}")
        found += [f"{place}: hook {hook}: {what}: {fix}" for what, fix in delivery.problems()]
    return in_order(document, map(clean, found))


def _unmatched_filters(options: Options) -> Sequence[SafeText]:
    """Return the filters that find none of the rows that an earlier run knew; asks no server."""
    from envwatch.config.credentials import AddressError, without_key
    from envwatch.watch.file_filters import FileFilters, known_rows

    rows: dict[SafeText, Sequence[TrackedEnvironment]] = {}
    all_settings = {clean(each.profile): each for each in all_settings_for(options)}
    for name, settings in all_settings.items():
        with suppress(AddressError):
            known = known_rows(name, SelectedProfile(without_key(settings, os.environ), settings))
            rows |= {name: known} if known else {}
    return FileFilters(all_settings).lines(rows)


def _mistakes_outside(settings: Settings) -> Iterator[str]:
    from envwatch.cli.commands.dashboard import screen_mistakes
    from envwatch.config.credentials import mistake_in_file
    from envwatch.config.settings import expected_by
    from envwatch.serve.listening import ServerError
    from envwatch.serve.tokens import tokens_in

    yield from screen_mistakes(settings)
    try:
        expected_by(settings)
    except ConfigError as error:
        yield from error.lines
    if settings.api_key_file is not None and (mistake := mistake_in_file(settings.api_key_file)):
        yield f"{settings.origin('api_key_file')}: api_key_file: {mistake}"
    if settings.serve_tokens_file is not None:
        try:
            tokens_in(settings.serve_tokens_file, redactor().learn)
        except ServerError as error:
            yield f"{settings.origin('serve_tokens_file')}: serve_tokens_file: {error}"
