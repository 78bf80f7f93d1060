"""The one runtime: joins poller, monitor, state files, recorder and hooks, for the dashboard and all commands."""
