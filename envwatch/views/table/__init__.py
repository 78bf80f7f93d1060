"""The table and the block above it: columns, widths, order, groups, baseline, cursor, and the rows that need a person.

Pure.
"""
