"""The runs of each figure, in two sizes."""
