"""What needs a person: losses, incidents, silences, acknowledgements, and the monitor that joins them with verdicts."""
