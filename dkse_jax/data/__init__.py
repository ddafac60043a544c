"""From images on disk or synthetic ones to batches that are a function of (seed, step)."""
