"""How things come to be trusted, installed and approved, and how they go: every change of a home's state."""
