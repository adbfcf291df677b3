"""What is enforced: the plan compiled for this kernel, and the spawn that applies it."""
