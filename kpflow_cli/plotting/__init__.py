"""What plots have in common, and the plots of a run and of the benchmarks."""
