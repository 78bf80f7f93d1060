"""Texts about environments: detail pane, Explain, remedies, legend."""
