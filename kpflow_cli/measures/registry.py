"""The measures by name, and how one of the user's own is found."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from kpflow_cli.errors import UserError
from kpflow_cli.measures.factors import measure_core, measure_parameter_operator, measure_propagator
from kpflow_cli.measures.full import measure_full
from kpflow_cli.measures.reductions import measure_means, measure_traces
from kpflow_cli.measures.rows import Measured
from kpflow_cli.measures.subject import Subject


@dataclass(frozen=True)
class Measure:
    """Something to measure at a checkpoint; one of your own is named in the configuration,
    ``analysis.measures=[ntk,my_package.my_measure]``.

    Attributes:
        rows: makes the rows of measurements.csv and spectra.csv.
        needs_core: whether it is left out of a network without a Kronecker core.
        needs_leading: whether it uses ``Subject.leading``.

    Example:
        >>> import kpflow_cli as kp
        >>> nothing = kp.Measure(lambda subject: kp.Measured())
        >>> nothing.needs_core, nothing.needs_leading
        (False, False)
    """

    rows: Callable[[Subject], Measured]
    needs_core: bool = False
    needs_leading: bool = False


MEASURES = {
    "ntk": Measure(measure_full, needs_leading=True),
    "mean": Measure(measure_means),
    "trace": Measure(measure_traces, needs_leading=True),
    "k": Measure(measure_parameter_operator),
    "p": Measure(measure_propagator),
    "v": Measure(measure_core, needs_core=True),
}


def find_measure(name: str) -> Measure:
    """The measure of this name, or what ``package.module.name`` names: a ``Measure``, or its
    ``rows`` alone.

    Raises UserError where there is none.
    """
    if name in MEASURES:
        return MEASURES[name]
    if "." not in name:
        raise UserError.unknown("analysis.measures", name, [*MEASURES, "package.module.function"])
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"analysis.measures={name}: cannot be imported ({error})") from None
    if isinstance(found, Measure):
        return found
    if not callable(found) or isinstance(found, type):
        raise UserError(
            f"analysis.measures={name}: neither a Measure nor a function from a Subject to Measured"
        )
    return Measure(found)
