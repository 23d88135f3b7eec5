"""The chat's views. Each finds what it shows among what the user owns: all else is not found."""
