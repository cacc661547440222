"""The schematic of figure 5: teacher and students, and which weights of a student are its own."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from kpflow_cli.plotting.style import COLOURS

# middle of the units, and what the trained weights and the output are called
_NETWORKS = (
    (22, "teacher", "", "$y^*$"),
    (66, "student, case W", "recurrent", "$y$"),
    (110, "student, case Win", "input", "$y$"),
)
_TEACHERS = {
    "input": r"$W^*_\mathrm{in}$",
    "recurrent": "$g^* W^*$",
    "output": r"$W^*_\mathrm{out}$",
}
_OWN = {"input": r"$g\, W_\mathrm{in}$", "recurrent": r"$g\, W$"}
# from the middle of the units: where each arrow begins and ends, and its name stands
_ARROWS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "input": ((-12.5, 0), (-3.6, 0), (-7.8, 2.4)),
    "recurrent": ((-1.6, 3.0), (1.6, 3.0), (0, 9.2)),
    "output": ((3.6, 0), (11.5, 0), (7.6, 2.4)),
}
_HEIGHT, _RADIUS = 6.5, 3.4
_FIXED, _TRAINED = "0.45", COLOURS[1]
_WORDS: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5}


def draw_student_teacher(panel: Axes) -> list[Line2D]:
    """A teacher and the students of cases W and Win, all fed with inputs of rank r_x; the entries
    of a legend.
    """
    panel.set(xlim=(0, 132), ylim=(0, 20), aspect="equal")
    panel.axis("off")
    for middle, name, trained, output in _NETWORKS:
        units = Circle((middle, _HEIGHT), _RADIUS, facecolor="#DCE9F5", edgecolor=COLOURS[0])
        panel.add_patch(units)
        panel.text(middle, _HEIGHT, r"$\tanh$", **_WORDS)
        panel.text(middle, 19, name, **_WORDS)
        panel.text(middle - 15, _HEIGHT, "$x$", **_WORDS)
        panel.text(middle - 15, _HEIGHT - 4.0, "rank $r_x$", **_WORDS)
        panel.text(middle + 13.5, _HEIGHT, output, **_WORDS)
        if not trained:
            panel.text(middle + 13.5, _HEIGHT - 4.0, "target", **_WORDS)
        for weight, (start, end, place) in _ARROWS.items():
            own = weight == trained
            colour = _TRAINED if own else _FIXED
            bend = "arc3,rad=-2.2" if weight == "recurrent" else "arc3"
            arrow = FancyArrowPatch(
                (middle + start[0], _HEIGHT + start[1]),
                (middle + end[0], _HEIGHT + end[1]),
                arrowstyle="-|>",
                connectionstyle=bend,
                mutation_scale=8,
                linewidth=1.6 if own else 0.8,
                color=colour,
                shrinkA=0,
                shrinkB=0,
            )
            panel.add_patch(arrow)
            label = _OWN[weight] if own else _TEACHERS[weight]
            panel.text(middle + place[0], _HEIGHT + place[1], label, color=colour, **_WORDS)
    return [
        Line2D([], [], color=_FIXED, linewidth=0.8, label="the teacher's weights, fixed"),
        Line2D([], [], color=_TRAINED, linewidth=1.6, label="drawn anew with gain $g$, trained"),
    ]
