"""The commands of the artifacts."""
