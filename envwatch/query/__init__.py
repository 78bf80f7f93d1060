"""The filter language: a line becomes a test of environments."""
