"""Where tools come from and where they are kept: the home's store."""
