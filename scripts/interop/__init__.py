"""Checks that other programs read what a prediction writes: `make interop`."""
