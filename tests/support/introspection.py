"""A process's view of itself: `python introspection.py ARGUMENT...` prints JSON."""

from __future__ import annotations

import json
import locale
import os
import resource
import signal
import sys
import time
from pathlib import Path

STREAMS = ("stdin", "stdout", "stderr")

if __name__ == "__main__":
    seen = {
        "arguments": sys.argv[1:],
        "environ": dict(os.environ),
        "folder": str(Path.cwd()),
        "zone": time.tzname,
        "leads session": os.getsid(0) == os.getpid(),
        "memory": resource.getrlimit(resource.RLIMIT_AS),
        "descriptors": [fd for fd in range(256) if Path(f"/dev/fd/{fd}").exists()],
        "controlling terminal": os.tcgetpgrp(0) == os.getpgrp() if os.isatty(0) else None,
        "signals": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "locale": locale.getpreferredencoding(),
    }
    for name in STREAMS:
        stream = getattr(sys, name)
        same = stream is getattr(sys, f"__{name}__")
        seen[name] = [stream.encoding, stream.errors, stream.line_buffering, stream.isatty(), stream.fileno(), same]
    sys.stdout.write(json.dumps(seen))
    sys.exit(7)
