"""Choices of the group task."""
