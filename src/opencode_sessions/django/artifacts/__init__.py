"""The app of artifacts: `"opencode_sessions.django.artifacts"` in `INSTALLED_APPS`, for projects that keep files."""
