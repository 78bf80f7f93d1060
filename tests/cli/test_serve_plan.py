"""Early refusals of `envwatch serve`, and new tokens: the real program."""

from __future__ import annotations

import re
import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.pty_terminal import environment
from support.serve_program import UPSTREAM_KEY as KEY
from support.serve_program import demo_server, environ_with_tokens, run, serve_program, tokens_file, upstream
from support.serving import until

from envwatch.cli.arguments import Exit, options_in
from envwatch.cli.bootstrap import profiles_for
from envwatch.cli.serving import Plan
from envwatch.redactor import redactor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envwatch.demo.server import Server


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with demo_server() as server:
        yield server


@pytest.fixture
def environ(demo: Server, tmp_path: Path) -> dict[str, str]:
    return environ_with_tokens(demo, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--bind", "0.0.0.0:0"), "--bind 0.0.0.0:0 is open to other machines, and needs --tls-cert: plain http would"),
        (("--bind", "[::]:0"), "--bind [::]:0 is open to other machines, and needs --tls-cert: plain http would show"),
        (("--bind", "example.com:80"), "--bind: must be an IP address and a port: 127.0.0.1:8283, [::1]:8283, 0.0.0.0"),
        (("--tls-key", "x"), "--tls-key needs a certificate: add --tls-cert"),
        (
            ("--bind", "0.0.0.0:0", "--tls-cert", "none.pem"),
            "none.pem cannot be used for TLS: No such file or directory",
        ),
    ],
)
def test_an_address_that_shows_tokens_to_the_network_is_refused(
    arguments: tuple[str, ...], reason: str, environ: dict[str, str]
) -> None:
    ended = run(environ, "serve", *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (Exit.USAGE, b"", 1)
    assert ended.stderr.decode().startswith(f"envwatch: {reason}")


def test_without_usable_tokens_it_does_not_start(demo: Server, tmp_path: Path) -> None:
    environ = upstream(tmp_path, demo.base_url, KEY)
    ended = run(environ, "serve", "--bind", "127.0.0.1:0")
    path = tmp_path / ".config/envwatch/serve-tokens"
    reason = f"there is no file of tokens {path}: `envwatch serve --new-token NAME` makes one"
    assert (ended.returncode, ended.stderr.decode()) == (Exit.USAGE, f"envwatch: {reason}\n")
    tokens_file(tmp_path, mode=0o640)
    ended = run(environ, "serve", "--bind", "127.0.0.1:0")
    reason = f"the file of tokens {path} can be read by others: `chmod 600 {path}`"
    assert (ended.returncode, ended.stderr.decode()) == (Exit.USAGE, f"envwatch: {reason}\n")


def test_a_file_of_tokens_that_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    path = tmp_path / ".config" / "envwatch" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('serve_name = "ops"\nserve_tokens_file = "tokens"\n')
    tokens = tokens_file(tmp_path, mode=0o644).rename(path.parent / "tokens")
    ended = run(environ, "config", "validate")
    remedy = f"the file of tokens {tokens} can be read by others: `chmod 600 {tokens}`"
    assert (ended.returncode, ended.stderr.decode()) == (2, f"envwatch: {path}:2: serve_tokens_file: {remedy}\n")
    tokens.chmod(0o600)
    assert run(environ, "config", "validate").returncode == 0
    assert f"serve_tokens_file    {tokens}" in run(environ, "config", "show").stdout.decode()


def test_a_new_token_is_printed_once_and_works(environ: dict[str, str], tmp_path: Path) -> None:
    ended = run(environment(tmp_path), "serve", "--new-token", "ben")
    assert ended.returncode == Exit.FINE
    token = ended.stdout.decode().strip()
    assert re.fullmatch(r"ew-[\w-]{40,}", token)
    assert token not in ended.stderr.decode()
    ended = run(environment(tmp_path), "serve", "--new-token", "ben")
    assert (ended.returncode, ended.stdout) == (Exit.USAGE, b"")
    assert b"has a token of ben already" in ended.stderr
    with serve_program(environ, tmp_path) as program:
        until(lambda: program.ask(token=token).status == 200)


def test_tokens_are_removed_from_every_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = secrets.token_hex(20)
    tokens_file(tmp_path, f"ann {token}\n")
    for name, value in upstream(tmp_path, "http://127.0.0.1:9", KEY).items():
        monkeypatch.setenv(name, value)
    options = options_in(["serve", "--bind", "127.0.0.1:0"])
    with closing(Plan.from_options(profiles_for(options), options)):
        assert token[:8] not in redactor()(f"it is {token}")
