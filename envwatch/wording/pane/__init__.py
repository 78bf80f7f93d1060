"""Texts about environments."""
