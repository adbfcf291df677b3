"""From a published MCP server to the source of a package: vendored, pinned, its tools written down."""
