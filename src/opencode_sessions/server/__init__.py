"""A managed `opencode serve`: its process, its folder, its environment, and what a doctor looks at."""
