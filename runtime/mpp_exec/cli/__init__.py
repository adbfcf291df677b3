"""How people call: one module a verb group; console.py is the only one that prints."""
