"""The filter language: text in, a test for environments out, with errors that point at their place.

Pure. Must not know how rows are shown.
"""
