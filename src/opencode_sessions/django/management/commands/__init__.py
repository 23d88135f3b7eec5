"""The management commands, one in each module."""
