"""The communication with the server: HTTP, dialects, and the shared event stream. No database."""
