"""Installed tools as native tools of agent frameworks; each framework is imported only by its own module."""
