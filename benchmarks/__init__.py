"""What the package costs in time and memory, against PyTorch or against its own plain form."""
