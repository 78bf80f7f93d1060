"""Texts about events."""
