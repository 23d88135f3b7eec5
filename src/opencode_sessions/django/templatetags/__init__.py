"""Template tags: `{% load opencode %}`."""
