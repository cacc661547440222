"""Choices of the group analysis."""
