"""Choices of the group training."""
