"""Everything that people and programs see, as plain values and bytes."""
