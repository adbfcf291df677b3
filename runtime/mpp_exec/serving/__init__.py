"""The resident runtime: one process of a home that makes the calls of others of the same user."""
