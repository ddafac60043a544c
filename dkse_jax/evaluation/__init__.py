"""From weights and a split to numbers, tables and pictures."""
