"""Alerting: incidents, acknowledgements, silences and the alert policy."""
