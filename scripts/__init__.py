"""Programs beside the project: they run where PyTorch is installed."""
