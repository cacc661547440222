"""For each model what makes it small, by its name."""
