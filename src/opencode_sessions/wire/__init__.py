"""Between us and the server: HTTP, the shared event stream, a managed server. No database."""
