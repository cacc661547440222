"""For each task what makes it small enough to verify, by its name."""
