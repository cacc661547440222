"""The names of what is in a run folder."""

from __future__ import annotations

CONFIG = "config.yaml"
STATUS = "run.json"
MANIFEST = "SHA256SUMS"
SUMMARY = "summary.txt"
REPORT = "report.html"
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
PLOTS = "plots"
# what a tracker leaves is its own: no checksum, and not read
TRACKER = "tracker"
# of a plot; a page shows the SVG, and draws where there is none
PLOT_FORMATS, PAGE_FORMAT = ("png", "pdf"), "svg"
