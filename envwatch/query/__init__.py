"""The filter language: a line of text becomes a test of environments; errors point at a place in the line."""
