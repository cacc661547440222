"""Choices of the group model."""
