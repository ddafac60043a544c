"""Runs of several processes, on one or more hosts: one program over all devices."""
