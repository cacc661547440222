"""A line of small words under a drawing, whatever is in it."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, TransformedBbox

# of the margin that is added, in inches
_HEIGHT = 0.16


def write_in_margin(figure: Figure, words: str) -> Bbox:
    """Add a margin below the figure, with the words at its right end; returns what to save of it,
    in inches, as ``bbox_inches`` of ``savefig``.

    The figure keeps its size and layout: nothing in it moves, nothing is written over.
    """
    width, height = figure.get_size_inches()
    figure.text(
        0.995,
        -0.75 * _HEIGHT / height,
        words,
        fontsize=5.5,
        color="0.4",
        horizontalalignment="right",
        verticalalignment="baseline",
    )
    whole = TransformedBbox(Bbox.unit(), figure.transFigure)
    for legend in figure.legends:
        # one placed in nothing in particular is placed in all that is saved; with a place set, the
        # layout would leave no room for it
        if legend.get_bbox_to_anchor() is figure.bbox:
            legend.get_bbox_to_anchor = lambda: whole  # type: ignore[method-assign]
    return Bbox([[0, -_HEIGHT], [width, height]])
