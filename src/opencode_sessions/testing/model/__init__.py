"""A language model that answers by rules, for a real OpenCode server to talk to."""
