"""mpp-exec: signed tool packages for AI agents, each call in a fresh sandbox, redacted and on the record."""
