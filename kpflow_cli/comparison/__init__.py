"""Several runs side by side: where their configurations differ, and by how much their numbers."""
