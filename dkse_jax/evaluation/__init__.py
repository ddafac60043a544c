"""From weights and a split to metrics, tables and figures."""
