"""Weights as people have them: which files they are in, at which steps, and how they fit a
network.
"""
