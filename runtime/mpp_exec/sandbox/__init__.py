"""What is enforced: the plan that is compiled for this kernel, and the spawn that applies it."""
