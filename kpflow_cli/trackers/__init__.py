"""Experiment trackers that a run may log to, beside the tables that it writes."""
