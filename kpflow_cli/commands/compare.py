"""``kpflow compare``: runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kpflow_cli.commands.arguments import Parser, place_parser, read_places
from kpflow_cli.config.keys import Key
from kpflow_cli.config.paths import read_path
from kpflow_cli.errors import UserError

HELP = "runs side by side: keys that differ, quantities with differences in standard errors"
_DESCRIPTION = """\
Runs side by side: the keys in which their configurations differ, and each quantity that all of them
have, with its difference from the first in its unit and in standard errors of the difference. Runs
that differ in nothing but the seed are one configuration: their mean, its standard error and the
spread among seeds (standard deviation).

With output= a page too, with the curves of all quantities on shared axes; the last line of output
names it.
"""
_EPILOG = """\
{keys}

  kpflow compare runs/memorypro/gru/<hash> runs/memorypro/rnn/<hash>
                                                     at the last step that both measured
  kpflow compare runs/memorypro/gru/<hash> runs/memorypro/rnn/<hash> step=last
                                                     at the last step of each
  kpflow compare runs/sweeps/<hash>.json output=gains.html
                                                     the runs of a sweep, as a page too
  kpflow compare 'runs/memorypro/*/*' quantities=evaluation_loss,effective_rank
                                                     all that fit, of some quantities

words beside a difference:
  +3.8 s.e. *    so many standard errors, sqrt(se1^2 + se2^2), from 0; with * outside the 95 %
                 interval of Student's distribution
  exact          neither value has an error
  no error       training.csv of a single run keeps none
  unknown        the error of one is not known
  no spread      all seeds of a configuration have one value
  within bound, beyond bound
                 errors that are bounds, of rounding or of an iteration
"""


@dataclass
class CompareSettings:
    """KEY=VALUE arguments of ``kpflow compare``."""

    output: Annotated[str, Key("an HTML file, the page; none by default")] = ""
    step: Annotated[
        str, Key("a step, or last for the last of each; by default the last that all measured")
    ] = ""
    quantities: Annotated[
        str, Key("names of quantities or operators, * in them for anything; all by default")
    ] = ""


def execute(words: list[str]) -> None:
    """Print the comparison of the runs that the arguments name, and write its page."""
    places, settings = read_places(words, _parser(), CompareSettings)
    if not places:
        raise UserError(
            "compare takes two runs or more, such as runs/memorypro/gru/<hash>, or a sweep file"
        )
    from kpflow_cli.comparison.comparison import compare
    from kpflow_cli.comparison.terminal import lay_out

    output = read_path(settings.output, "output") if settings.output else None
    patterns = [pattern for pattern in settings.quantities.split(",") if pattern]
    comparison = compare(places, settings.step, patterns)
    print(lay_out(comparison), flush=True)
    if output is not None:
        from kpflow_cli.report.comparison_report import render_comparison
        from kpflow_cli.report.places import write_page

        print(write_page(render_comparison(comparison), output), flush=True)


def _parser() -> Parser:
    return place_parser(
        "compare",
        "RUN RUN ...",
        (_DESCRIPTION, _EPILOG),
        CompareSettings,
        (
            "RUN",
            "a run folder, the file of a sweep, or a quoted glob of run folders; the first is "
            "what the others are held against",
        ),
    )
