"""For each task what makes it small, by its name."""
