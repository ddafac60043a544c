"""Benchmarks of time and memory, against PyTorch or against our own plain form."""
