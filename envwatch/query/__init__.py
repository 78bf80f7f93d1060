"""The filter language: a line of text becomes a test for environments; errors point at their place in the line.

Pure. Must not know how rows are shown, nor where queries are typed.
"""
