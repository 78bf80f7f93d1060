"""Alert rules: losses, incidents, silences, acknowledgements, ledger and monitor."""
