"""The configs of the package, by name: --config=dkse:figure10."""
