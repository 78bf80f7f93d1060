"""The table and the block above: columns, order, groups, baseline, cursor."""
