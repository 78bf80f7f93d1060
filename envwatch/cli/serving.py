"""Options of `envwatch serve`: tokens, files, and the socket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_settings_for, config_path_for
from envwatch.cli.streams import print_error, write
from envwatch.model.redactor import redactor
from envwatch.serve.listening import Certificate, ServerError, listen
from envwatch.serve.service import Plan
from envwatch.serve.tokens import TokensFile, add_token

if TYPE_CHECKING:
    from envwatch.config.settings import Settings
    from envwatch.watch.profiles import Profiles


_TOKENS: Final = "serve-tokens"


def new_token(options: Options) -> int:
    """Add and print a token."""
    settings = all_settings_for(options)
    paths = {_tokens_path(each, options) for each in settings}
    if len(paths) > 1:
        raise StopError(Exit.USAGE, "the profiles have different files of tokens: choose one with --profile")
    (path,) = paths
    token = add_token(path, options.new_token, may_ack=options.ack)
    write(f"{token}\n".encode())
    print_error(f"token added to {path}, and never shown again. The viewer sets LETTA_API_KEY to the token")
    return Exit.FINE


def _tokens_path(settings: Settings, options: Options) -> Path:
    return settings.serve_tokens_file or config_path_for(options)[0].parent / _TOKENS


def check_options(options: Options) -> None:
    """Raise `StopError` for contradictory options."""
    if options.ack:
        raise StopError(Exit.USAGE, "--ack needs a new token: add --new-token NAME")
    if options.tls_cert is None and options.tls_key is not None:
        raise StopError(Exit.USAGE, "--tls-key needs a certificate: add --tls-cert")
    if options.tls_cert is None and not options.bind.is_loopback:
        reason = "plain http would show tokens to the network"
        raise StopError(Exit.USAGE, f"--bind {options.bind} is open to other machines, and needs --tls-cert: {reason}")


def plan_from(profiles: Profiles, options: Options) -> Plan:
    """Read files and listen; raise `ReportedError` for an unusable file or address."""
    settings = {name: each for name, (_, each) in profiles.items()}
    paths = {name: _tokens_path(each, options) for name, each in settings.items()}
    files = {path: TokensFile(path, redactor().learn) for path in dict.fromkeys(paths.values())}
    cert, key = options.tls_cert, options.tls_key
    tls = None if cert is None else Certificate(Path(cert), Path(key or cert))
    try:
        listening = listen(options.bind)
    except ServerError as error:
        raise StopError(Exit.FAILED, str(error)) from None
    return Plan(settings, {name: files[path] for name, path in paths.items()}, listening, tls)
