"""Many runs as one piece of work: grids, cooperating workers, the engines that start them, the
table of all results.
"""
