"""Texts for a chat: the report on a period (values, Markdown, JSON), and a sentence."""
