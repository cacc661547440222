"""Pages to look at: a run, a sweep, the figures, each one HTML file that needs nothing else."""
