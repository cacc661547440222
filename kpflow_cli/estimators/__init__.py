"""Estimates of traces, norms, ranks, alignments and spectra, each a value with its
standard error.
"""
