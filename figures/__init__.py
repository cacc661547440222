"""Plots and figures: CSV tables in, drawings out; nothing that belongs in a run is
computed here.
"""
