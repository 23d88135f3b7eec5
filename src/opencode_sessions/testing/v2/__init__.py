"""A stand-in for an OpenCode 2.x server: durable, scripted by `ScriptedModel`, and held to the real line's contract."""
