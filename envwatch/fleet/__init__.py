"""The state machine: `Monitor.apply` takes an outcome and returns the next state and the events."""
