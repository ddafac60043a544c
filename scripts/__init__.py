"""Programs beside the package; most of them need PyTorch."""
