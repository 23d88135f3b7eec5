"""What `make demo` runs: the chat with all that it needs, on one machine, in one folder."""
