"""Waiting and running, once for the sync and once for the async API."""
