"""What is said to an MCP server that runs in a sandbox. Pure: bytes in, bytes out."""
