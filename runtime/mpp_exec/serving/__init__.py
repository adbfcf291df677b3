"""The resident runtime: one process of a home that makes calls for other processes of the same user."""
