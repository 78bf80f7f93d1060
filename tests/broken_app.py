"""The dashboard with a bug: `python broken_app.py PLACE`, the key in the environment. It breaks when `t` is pressed.

The bug's message and a local variable hold the key, as bugs' do.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, NoReturn

from builders import environment
from textual.widgets import Static

from envwatch.clock import Reading
from envwatch.cli import crashed, show
from envwatch.crash import Censor
from envwatch.journal import Journal
from envwatch.outcome import ListedPage, Outcome, Snapshot, SourceError, Cause
from envwatch.poller import Poller, Surroundings, read_clocks
from envwatch.rules import Rules
from envwatch.text import clean
from envwatch.tui.app import EnvwatchApp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path
