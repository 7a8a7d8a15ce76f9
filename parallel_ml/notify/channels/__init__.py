"""The channels, one file each. `registry.py` finds them by their type, those of third parties by entry point too."""
