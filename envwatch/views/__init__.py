"""What a person or a program gets to see, as plain values and bytes: columns, order, groups, details, JSON, CSV.

Must not import Textual or Rich, and does no I/O.
"""
