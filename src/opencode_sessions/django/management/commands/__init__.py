"""One command a module, by its name."""
