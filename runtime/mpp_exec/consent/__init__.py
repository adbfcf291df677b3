"""What was agreed: grants, the organisation's policy, and confirmation."""
