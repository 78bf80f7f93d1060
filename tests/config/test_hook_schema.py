"""The tables `[[hooks]]`: meaning, all mistakes together, and secrets that are never shown."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from inspect import isabstract
from typing import TYPE_CHECKING

import pytest
from support.incidents import message

from envwatch.config.describe import settings_table
from envwatch.config.hooks import DELIVERIES, KINDS, HookSettings
from envwatch.config.schema import parse_document
from envwatch.config.settings import Settings, read_settings
from envwatch.deliver.delivery import (
    WHERE_IT_RUNS,
    Apprise,
    Command,
    PagerDuty,
    Webhook,
    find_ping,
    prepare_all,
    unusable_hooks,
)
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.letta.network_settings import SettingsError
from envwatch.model.redactor import Secret, redactor
from envwatch.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "x7Gh28sKq0Lm55Tz"

WHOLE = f"""\
[[hooks]]
name = "pager"
on = ["incident", "mode"]
filter = "pod:p-7"
after = "2m"
cooldown = 300
command = ["/usr/local/bin/page", "--quiet"]

[[hooks]]
url = "https://hooks.example.com/services/{SECRET}?key={SECRET}"

[[hooks]]
format = "pagerduty"
key_env = "PD_KEY"

[[hooks]]
url_env = "CHAT_URL"

[[hooks]]
apprise = ["ntfy://{SECRET}"]
"""


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    (settings,) = read_settings({"config": str(path)}, {})
    return settings


def mistakes_of(folder: Path, text: str) -> list[str]:
    path = folder / "config.toml"
    return [line.removeprefix(f"{path}:") for line in parse_document(path, text.encode())[1]]


def test_a_hook_has_what_the_file_says(tmp_path: Path) -> None:
    pager, chat, duty, secret, apprise = settings_of(tmp_path, WHOLE).hooks
    assert [hook.name for hook in (pager, chat, duty, secret, apprise)] == ["pager", "2", "3", "4", "5"]
    assert dict(pager)["command"] == ("/usr/local/bin/page", "--quiet")
    rule = pager.rule(NO_PROFILE)
    assert (rule.kinds, rule.has_incidents) == (frozenset({Kind.MODE}), True)
    assert (rule.after, rule.cooldown) == (timedelta(minutes=2), timedelta(minutes=5))
    rule = chat.rule(NO_PROFILE)
    assert (rule.kinds, rule.has_incidents, dict(duty)["format"]) == (frozenset(), True, "pagerduty")


def test_what_delivers_a_message_follows_from_the_hook(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f'api_key_env = "WORK_KEY"\n{WHOLE}')
    variables = {"LETTA_API_KEY": "a", "WORK_KEY": "b", "PD_KEY": "c" * 32, "CHAT_URL": "https://chat.example/x"}
    found = prepare_all(settings.deliveries, variables | {"HOME": "/h"}, settings.secret_variables)
    assert [type(each) for each in found.values()] == [Command, Webhook, PagerDuty, Webhook, Apprise]
    command = settings.hooks[0].delivery()
    assert command == Command.model_construct(command=("/usr/local/bin/page", "--quiet"))


async def test_no_command_gets_a_key_of_the_api_or_a_secret_of_another_hook(tmp_path: Path) -> None:
    script = 'echo "$HOME$LETTA_API_KEY$WORK_KEY$PD_KEY$CHAT_URL"'
    text = WHOLE.replace('["/usr/local/bin/page", "--quiet"]', f"['sh', '-c', '{script}']")
    settings = settings_of(tmp_path, f'api_key_env = "WORK_KEY"\n{text}')
    variables = {"LETTA_API_KEY": "a", "WORK_KEY": "b", "PD_KEY": "c" * 32, "CHAT_URL": "https://chat.example/x"}
    environ = variables | {"HOME": "/h", "PATH": os.environ["PATH"]}
    found = prepare_all(settings.deliveries, environ, settings.secret_variables)
    assert await found[clean("pager")].send(message()) == "/h"


def test_every_delivery_has_a_setting_and_can_send() -> None:
    for kind in DELIVERIES:
        assert not isabstract(kind)
        assert {*kind.targets} & kind.model_fields.keys() == {*kind.targets} != set()


def test_no_secret_of_a_hook_is_shown(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, WHOLE)
    shown = settings_table(settings, "no key", tmp_path) + repr(settings.hooks) + repr(settings.document)
    assert SECRET not in shown
    assert "hooks.2" in shown
    assert "incident: https://hooks.example.com/…" in shown
    assert "incident: ntfy://…" in shown
    prepare_all(
        settings.deliveries, {"PD_KEY": "routing-key-0123456789", "CHAT_URL": "https://c.example/abcdefghijkl"}, ()
    )
    for secret in (SECRET, "routing-key-0123456789", "abcdefghijkl"):
        assert redactor()(f"refused: {secret}") == "refused: …"
    assert redactor()("https://hooks.example.com/services") == "https://hooks.example.com/services"


def test_a_short_password_of_a_service_is_a_secret_and_its_user_is_none() -> None:
    mail = HookSettings.model_construct(name=clean("mail"), apprise=(Secret("mailto://oncaller:w0rd-pass@mail.test"),))
    prepare_all({mail.name: mail.delivery()}, {}, ())
    assert redactor()("oncaller w0rd-pass mail.test") == "oncaller … mail.test"


def test_a_ping_address_is_hidden_as_addresses_of_hooks_and_a_profile_has_one_place(tmp_path: Path) -> None:
    text = f'ping_url_env = "PING"\n[profiles.default]\nping_url = "https://hc-ping.example/{SECRET}9"\n'
    settings = settings_of(tmp_path, text)
    assert settings.ping_url_env is None, "the profile's own setting replaces the other one"
    assert settings.key_variables == {"PING"}
    shown = settings_table(settings, "no key", tmp_path) + repr(settings) + repr(settings.document)
    assert SECRET not in shown
    assert "https://hc-ping.example/…" in shown
    ping = find_ping(settings.ping_url, settings.ping_url_env, {})
    assert ping is not None
    assert str(ping.url) == f"https://hc-ping.example/{SECRET}9"
    assert redactor()(f"refused: {SECRET}9") == "refused: …"


def test_mistakes_of_a_ping_address_are_named_with_their_lines(tmp_path: Path) -> None:
    text = """\
ping_url = "http://hc-ping.example/uuid"
[profiles.a]
ping_url = "https://hc-ping.example/uuid"
ping_url_env = "PING"
[profiles.b]
ping_url_env = "P I"
"""
    first, both, name = mistakes_of(tmp_path, text)
    assert first.startswith("1: ping_url cannot be used: the address must start with https://")
    assert both == "4: profiles.a.ping_url_env and ping_url both give the address: keep one of the two"
    assert name == "6: profiles.b.ping_url_env must be the name of an environment variable"


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({}, "ping_url_env: PING is not set"),
        ({"PING": "http://hc-ping.example/x"}, "ping_url_env: the address must start with https://"),
        ({"PING": "ö"}, "ping_url_env: PING holds characters that no address or key has"),
        ({"PING": "https://hc-ping.example/x", "HTTPS_PROXY": "::"}, "ping_url_env: HTTPS_PROXY"),
    ],
)
def test_an_unusable_ping_address_names_its_setting(variables: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        find_ping(None, "PING", variables)
    assert str(caught.value).startswith(why)


def test_no_command_of_the_users_own_gets_a_variable_with_a_secret(tmp_path: Path) -> None:
    text = f'api_key_env = "WORK_KEY"\n{WHOLE}\n[profiles.other]\nping_url_env = "PING"\n'
    assert settings_of(tmp_path, text).secret_variables == {"WORK_KEY", "PING", "PD_KEY", "CHAT_URL"}


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({}, "hook 3: PD_KEY is not set"),
        ({"PD_KEY": "k" * 20}, "hook 4: CHAT_URL is not set"),
        (
            {"PD_KEY": "k" * 20, "CHAT_URL": "ftp://x"},
            "hook 4: the address must start with https:// and a host (http:// for this machine only)",
        ),
        ({"PD_KEY": "k\x1b"}, "hook 3: PD_KEY holds characters that no address or key has"),
    ],
)
def test_an_unusable_variable_names_its_hook(tmp_path: Path, variables: dict[str, str], why: str) -> None:
    settings = settings_of(tmp_path, WHOLE)
    deliveries = prepare_all(settings.deliveries, variables, ())
    assert unusable_hooks(deliveries)[0] == f"{why}: {WHERE_IT_RUNS}"
    assert len(deliveries) == len(settings.hooks)


def test_a_missing_package_names_the_command_with_both_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    settings = settings_of(tmp_path, '[[hooks]]\napprise = ["ntfy://topic"]\n')
    (line,) = unusable_hooks(prepare_all(settings.deliveries, {}, ()))
    assert line.startswith("hook 1: the package apprise is not installed: install")
    assert "`uv tool install 'envwatch[metrics,apprise]'`" in line


def test_all_mistakes_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
[[hooks]]
on = ["offlin"]
command = []

[[hooks]]
url = "http://example.com/x"
filter = "podd:7"
key_env = "A B"
foo = 1

[[hooks]]
name = "x"
command = ["a"]
url = "https://a.example/c?d=e"

[[hooks]]
name = "x"
format = "pagerduty"
on = ["offline"]

[[hooks]]
after = "-1"
cooldown = "2d"
"""
    network = "the address must start with https://: plain http would show your messages to the network"
    needs = "needs what takes its messages: command, url, url_env or apprise"
    assert mistakes_of(tmp_path, text) == [
        "2: hooks.on names an unknown kind of event; did you mean offline?",
        '3: hooks.command must be a list of texts, a program and its arguments: ["ssh-to-env", "--quiet"]',
        f"6: hooks.url cannot be used: {network}",
        "7: hooks.filter cannot be used: there is no field podd; the nearest: pod, up7d; or quote it",
        "8: hooks.key_env must be the name of an environment variable",
        "9: hooks.foo is no setting",
        "11: hooks has command and url, and can have one of them only",
        "16: hooks needs key_env, the variable with PagerDuty's routing key",
        '16: hooks can have on = ["incident"] only, because PagerDuty takes incidents',
        "17: hooks.name is the name of another hook as well",
        f"21: hooks {needs}",
        "22: hooks.after must be 0s to 24h, written like 45s, 2m or a number of seconds",
        "23: hooks.cooldown must be 0s to 24h, written like 45s, 2m or a number of seconds",
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("hooks = 3", "1: hooks must be tables, each of which begins with [[hooks]]"),
        ("hooks = [3]", "1: hooks must be a table"),
        ("[hooks]\non = []", "1: hooks must be tables, each of which begins with [[hooks]]"),
        ('[[hooks]]\ncommand = ["a"]\non = []', "3: hooks.on must be a list of kinds"),
        ('[[hooks]]\ncommand = ["a\\u0000"]', "2: hooks.command must be a list of texts"),
        ('[[hooks]]\napprise = ["nothing"]', "2: hooks.apprise must be a list of addresses"),
        ('[[hooks]]\nurl = "https://user:pass@a.example/"', "2: hooks.url cannot be used: the address must not hold"),
        ('[[hooks]]\ncommand = ["a"]\nkey_env = "A"', "1: hooks has key_env, which goes with url only"),
        (
            '[[hooks]]\ncommand = ["a"]\nformat = "pagerduty"',
            "1: hooks has format, which goes with url only",
        ),
        ('[[hooks]]\nurl = "https://a.example"\nkey = "sk-1"', "3: hooks.key must not stand here"),
    ],
)
def test_a_value_of_the_wrong_kind_is_one_line(tmp_path: Path, value: str, why: str) -> None:
    (mistake,) = mistakes_of(tmp_path, value)
    assert mistake.startswith(why)
    assert "pass@" not in mistake


def test_every_kind_of_event_but_groups_and_notices_has_one_word() -> None:
    people = {Kind.ACKNOWLEDGED, Kind.ACK_ENDED}
    assert set(KINDS.values()) == set(Kind) - {Kind.TOGETHER, Kind.WHILE_BLIND, Kind.NOTICE} - people
    assert all(word.isprintable() and " " not in word for word in KINDS)
