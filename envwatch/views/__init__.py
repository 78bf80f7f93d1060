"""Everything that people and programs see, as plain values and bytes: columns, order, detail lines, wording, JSON, CSV.
"""
