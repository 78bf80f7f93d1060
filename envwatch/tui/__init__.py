"""The dashboard in Textual. Must not fetch, read settings or judge listings."""
