"""A managed `opencode serve`: its process, its folder, its environment, and the checks of `doctor`."""
