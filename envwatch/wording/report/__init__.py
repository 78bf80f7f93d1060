"""Texts for a chat: the report on a period, and a sentence."""
