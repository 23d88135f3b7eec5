"""What every message store has to do, of the suite that `opencode_sessions.testing.conformance` gives."""
