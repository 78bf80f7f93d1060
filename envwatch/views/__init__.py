"""What people and programs see, as plain values and bytes: columns, order, groups, detail lines, wording, JSON, CSV.

Pure: does no I/O. Must not import Textual or Rich.
"""
