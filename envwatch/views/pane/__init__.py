"""Texts about environments: the detail pane and its layout, Explain, remedies, the legend."""
