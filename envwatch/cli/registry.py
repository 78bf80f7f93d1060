"""The commands by name, in the groups of the help. A new command is one module in `commands` and one line here."""

from __future__ import annotations

from typing import Final

DASHBOARD: Final = "dashboard"
"""The command that runs if none is named; every shared option is one of its own."""

PLUGIN: Final = "check"
"""The command that monitoring systems call: it reports failures on standard output, with an exit code of its own."""

GROUPS: Final = {
    "Dashboard": {
        DASHBOARD: "your environments, live: what runs without a command",
        "demo": "the same on an embedded demo fleet, without a key",
        "replay": "the same on a file of `envwatch record`; or only its events",
    },
    "Without a screen": {
        "list": "one listing, as a table, JSON or CSV",
        "watch": "each change as it happens, one a line",
        "wait": "until an environment matches a filter, or none does",
        "serve": "poll once for many viewers, who ask this in place of the platform",
        "record": "what happens, or happened, as a file to replay or to send",
        PLUGIN: "a plugin for Nagios, Icinga and other monitoring systems",
        "metrics": "series for Prometheus, as a file or on standard output",
        "report": "what happened in a time, for the next person on call",
        "hooks": "tries what `watch --hooks` runs or posts when something happens",
        "silence": "keep environments quiet for a time of planned work",
    },
    "Setup": {
        "config": "the settings in force and their origins",
        "doctor": "checks all that envwatch needs, and says how to mend it",
        "completion": "completion of this command line in bash, zsh or fish",
    },
}
"""The commands of each group, each with its line in the help, which is one screen of 80x24. The module in `commands`
has the command's name."""

COMMANDS: Final = {name: summary for group in GROUPS.values() for name, summary in group.items()}
