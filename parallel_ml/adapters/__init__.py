"""The ways in and out: command line and, later, web, MCP and Prometheus. Thin: they see a run through its client."""
