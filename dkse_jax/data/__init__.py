"""From pictures on disk, or painted ones, to batches that are a function of (seed, step)."""
