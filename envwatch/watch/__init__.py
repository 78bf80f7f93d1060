"""The runtime of dashboard and commands: poller, monitor, state files, recorder and hooks."""
