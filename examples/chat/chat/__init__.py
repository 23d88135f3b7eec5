"""The reference chat: conversations with an agent, on top of `opencode_sessions.django`."""
