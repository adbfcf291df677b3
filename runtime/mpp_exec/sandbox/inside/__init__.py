"""What runs inside a Python sandbox before the tool: standard library only, nothing of mpp-exec."""
