"""The filter language: a line becomes a test of environments; errors point at a place in the line."""
