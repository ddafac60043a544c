"""Several processes, on one host or on many, that make one run: one program over all devices."""
