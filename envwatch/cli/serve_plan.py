"""What `envwatch serve` needs before it starts, checked: packages, tokens, certificate, address. And new tokens."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_settings_for, config_path_for
from envwatch.cli.streams import print_error, write
from envwatch.model.text import clean, counted
from envwatch.redactor import redactor
from envwatch.serving.listening import Address, Certificate, ListeningSocket, ServerError, listen
from envwatch.serving.tokens import TokensFile, add_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.cli.bootstrap import Profiles
    from envwatch.config.settings import Settings
    from envwatch.model.text import SafeText

_TOKENS: Final = "serve-tokens"
"""The name of the file of tokens beside the configuration file."""


def new_token(options: Options) -> int:
    """Add a token to the file of tokens, print it, and return the exit code."""
    settings = all_settings_for(options)
    paths = {_tokens_path(each, options) for each in settings}
    if len(paths) > 1:
        raise StopError(Exit.USAGE, "the profiles have different files of tokens: name one profile")
    (path,) = paths
    try:
        token = add_token(path, options.new_token)
    except ServerError as error:
        raise StopError(Exit.USAGE, str(error)) from None
    write(f"{token}\n".encode())
    print_error(f"added to {path}; it is not shown again. The viewer sets LETTA_API_KEY to it")
    return Exit.FINE


def _tokens_path(settings: Settings, options: Options) -> Path:
    return settings.serve_tokens_file or config_path_for(options)[0].parent / _TOKENS


@dataclass(slots=True)
class Plan:
    """Everything that is needed to serve, checked, with the socket that listens already."""

    settings: Mapping[SafeText, Settings]
    """Of each profile, by the name under which it is polled."""
    tokens: Mapping[SafeText, TokensFile]
    """Likewise."""
    address: Address
    listening: ListeningSocket
    tls: Certificate | None

    @staticmethod
    def check(options: Options) -> None:
        """Stop if a package is missing, or the options make no sense together: what needs no settings."""
        if any(find_spec(package) is None for package in ("starlette", "uvicorn", "httptools")):
            how = "install envwatch with its extra `serve`, such as `uv tool install '.[serve]'`"
            raise StopError(Exit.USAGE, f"`envwatch serve` needs more packages: {how}")
        if options.tls_cert is None and options.tls_key is not None:
            raise StopError(Exit.USAGE, "--tls-key is the key of a certificate: --tls-cert is missing")
        if options.tls_cert is None and not options.bind.is_loopback:
            reason = "plain http would show tokens to the network"
            raise StopError(
                Exit.USAGE, f"--bind {options.bind} is not this machine alone, and needs --tls-cert: {reason}"
            )

    @classmethod
    def from_options(cls, profiles: Profiles, options: Options) -> Self:
        """Return the plan, and listen; stop if something that it needs cannot be used."""
        settings = {name: each for name, (_, each) in profiles.items()}
        paths = {name: _tokens_path(each, options) for name, each in settings.items()}
        try:
            files = {path: TokensFile(path, redactor().learn) for path in dict.fromkeys(paths.values())}
            cert, key = options.tls_cert, options.tls_key
            tls = None if cert is None else Certificate(Path(cert), Path(key or cert))
        except ServerError as error:
            raise StopError(Exit.USAGE, str(error)) from None
        try:
            listening = listen(options.bind)
        except ServerError as error:
            raise StopError(Exit.FAILED, str(error)) from None
        return cls(settings, {name: files[path] for name, path in paths.items()}, options.bind, listening, tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listening.close()

    @property
    def base_urls(self) -> list[str]:
        """What viewers set LETTA_BASE_URL to, for each profile."""
        _, port = self.listening.getsockname()[:2]
        host = self.address.host
        if ip_address(host).is_unspecified:
            host = socket.gethostname()
        root = f"{'http' if self.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
        return (
            [root]
            if len(self.settings) == 1
            else [f"{root}/profiles/{each.profile}" for each in self.settings.values()]
        )

    @property
    def left_out(self) -> list[str]:
        """A line for each profile whose settings keep viewers from seeing all of it, for people."""
        filters = {each.profile: {"source": each.source, "user": each.user} for each in self.settings.values()}
        alone = {
            profile: " and ".join(f"{name} = {value}" for name, value in values.items() if value is not None)
            for profile, values in filters.items()
        }
        return [clean(f"viewers of profile {profile} see only {what}") for profile, what in alone.items() if what]

    @property
    def tokens_are(self) -> str:
        """How many tokens there are, and where, for people."""
        files = dict.fromkeys(self.tokens.values())
        return " or ".join(f"one of {counted(len(file.tokens), 'token')} in {clean(str(file.path))}" for file in files)
