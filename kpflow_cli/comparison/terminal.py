"""A comparison as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from kpflow_cli.comparison.comparison import ComparedQuantity, Comparison, Quantity
from kpflow_cli.comparison.configurations import Configuration
from kpflow_cli.comparison.differences import Difference
from kpflow_cli.comparison.values import Value
from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.run.identity import write_value

_WIDTH = 100
# what the words beside a difference mean
_WORDS = {
    "exact": "neither value has an error",
    "no error": "training.csv of a single run keeps none",
    "unknown": "an error is not known",
    "no spread": "all seeds of each have one value",
    "within bound": "no more than rounding or an iteration may change it by",
    "beyond bound": "more than rounding or an iteration may change it by",
}


def lay_out(comparison: Comparison) -> str:
    """The comparison in lines."""
    parts = [
        _list_configurations(comparison.configurations),
        _list_keys(comparison),
        _list_quantities(comparison),
        _explain(comparison),
        _list_missing(comparison),
        *(_wrap(note) for note in comparison.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def _list_configurations(configurations: Sequence[Configuration]) -> str:
    lines = []
    for each in configurations:
        runs = [f"{run.folder}{f' ({run.state})' if run.state else ''}" for run in each.runs]
        seeds = ", ".join(map(str, each.seeds))
        if len(runs) == 1:
            lines.append(f"{each.letter}  {runs[0]}, seed {seeds}")
        else:
            lines += [f"{each.letter}  {len(runs)} seeds: {seeds}", *(f"   {run}" for run in runs)]
    return "\n".join(lines)


def _list_keys(comparison: Comparison) -> str:
    """Differing keys, a column a configuration; of many, as many beside each other as fit."""
    if len(comparison.configurations) == 1:
        return "no key differs but the seed"
    rows = ["differing keys", *comparison.keys]
    columns = [
        [
            each.letter,
            *(
                write_value(each.differing[key]) if key in each.differing else "-"
                for key in comparison.keys
            ),
        ]
        for each in comparison.configurations
    ]
    first = max(map(len, rows))
    blocks: list[list[list[str]]] = []
    room = 0
    for column in columns:
        width = max(map(len, column)) + 2
        if not blocks or room + width > _WIDTH:
            blocks.append([])
            room = first
        blocks[-1].append(column)
        room += width
    return "\n\n".join(_align([rows, *block]) for block in blocks)


def _list_quantities(comparison: Comparison) -> str:
    one = len(comparison.configurations) == 1
    lines, operator = [comparison.when if one else f"{comparison.when}, from A"], ""
    rows: list[list[str]] = []
    heads: dict[int, str] = {}
    for each in comparison.quantities:
        if each.name.operator != operator:
            operator = each.name.operator
            heads[len(rows)] = operator
        rows += _rows_of(each, [c.letter for c in comparison.configurations])
    aligned = _align(list(map(list, zip(*rows, strict=True)))).splitlines()
    for place, line in enumerate(aligned):
        if place in heads:
            lines.append(heads[place])
        lines.append(f"  {line}")
    return "\n".join(lines)


def _rows_of(compared: ComparedQuantity, letters: Sequence[str]) -> list[list[str]]:
    name = f"{compared.name.quantity} {compared.name.reduction}".rstrip()
    rows = []
    for place, (letter, value) in enumerate(zip(letters, compared.values, strict=True)):
        difference = compared.differences[place - 1] if place else None
        rows.append(
            [
                "" if place else name,
                letter,
                write_measured(value),
                write_amount(difference) if difference else "",
                write_ratio(difference) if difference else "",
            ]
        )
    return rows


def write_measured(value: Value) -> str:
    """A value with its error and what that rests on."""
    shown = _with_error(value.value, value.error)
    match value.kind:
        case "exact":
            return f"{shown} (exact)"
        case "probes":
            return f"{shown} ({value.count} probes)"
        case "seeds":
            return f"{shown} ({value.count} seeds, spread {value.spread:.2g})"
        case "bound":
            return f"{shown} (bound)"
        case "unknown":
            return f"{shown} (error unknown)"
    return shown


def write_amount(difference: Difference) -> str:
    """A difference with its sign and its standard error."""
    shown = _with_error(difference.amount, difference.error)
    return shown if shown.startswith("-") else f"+{shown}"


def write_ratio(difference: Difference) -> str:
    """How many standard errors, with a star where 0 is outside the 95 % interval; a word where
    there are none.
    """
    if difference.told:
        return difference.told
    least = ">= " if difference.bound else ""
    return f"{least}{difference.ratio:+.1f} s.e.{' *' if difference.is_clear else ''}"


def _with_error(value: float, error: float) -> str:
    """``12.3 +- 1.4``, or the value alone without an error above 0."""
    # of however many probes: what it rests on stands elsewhere
    return str(Estimate(value, error, 1)).partition(" (")[0] if error > 0 else f"{value:.6g}"


def _explain(comparison: Comparison) -> str:
    """What stands beside the differences, as far as it does."""
    differences = [each for row in comparison.quantities for each in row.differences]
    if not differences:
        return ""
    lines = []
    if any(each.degrees for each in differences):
        lines.append(
            "s.e.: standard errors of the difference, sqrt(se1^2 + se2^2); * outside the 95 % "
            "interval of Student's distribution, where one in 20 is by chance"
        )
    if any(each.bound and each.degrees for each in differences):
        lines.append(">=: what is left when a bound of rounding or of an iteration is taken off")
    told = {each.told for each in differences}
    lines += [f"{word}: {meaning}" for word, meaning in _WORDS.items() if word in told]
    return "\n".join(map(_wrap, lines))


def _list_missing(comparison: Comparison) -> str:
    return "\n".join(
        _wrap(f"not in {each.letter}: {', '.join(_name(name) for name in missing)}")
        for each, missing in zip(comparison.configurations, comparison.missing, strict=True)
        if missing
    )


def _name(name: Quantity) -> str:
    return " ".join(filter(None, name))


def _align(columns: Iterable[Sequence[str]]) -> str:
    """Columns beside each other, two blanks between them."""
    listed = [(column, max(map(len, column))) for column in columns]
    padded = [[each.ljust(width) for each in column] for column, width in listed]
    return "\n".join("  ".join(row).rstrip() for row in zip(*padded, strict=True))


def _wrap(line: str) -> str:
    return textwrap.fill(
        line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
