"""Configurations: their keys, their checks, and Hydra's command line made ours."""
