"""What may leave: detection and redaction of sensitive data in everything a tool says."""
