"""Where packages travel: to and from a registry."""
