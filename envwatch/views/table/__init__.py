"""The table and the block above: columns, order, groups, baseline, cursor, and the rows that need a person."""
