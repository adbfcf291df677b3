"""How agents call: a Model Context Protocol server over stdio for the tools of a home."""
