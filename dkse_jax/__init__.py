"""The dual-kernel squeeze-and-excitation art classifier in JAX and Flax."""
