"""The handover report: what happened in a period, as values, Markdown and JSON.

Pure.
"""
