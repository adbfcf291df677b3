"""The home's store: where tools come from and where they are kept."""
