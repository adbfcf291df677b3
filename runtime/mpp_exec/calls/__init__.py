"""One call, from the name of a tool to its redacted result: each stage, and what they share."""
