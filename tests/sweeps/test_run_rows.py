"""Many runs read at once are what each is alone, one after the other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kpflow_cli.sweeps.run_rows import VALUES, column_of, read_rows

MEASURED = "step,operator,quantity,reduction,value,stderr,probes\n"
TRAINED = "step,loss,accuracy\n"


def put(folder: Path, name: str, measurements: str | None, training: str | None) -> Path:
    run = folder / name
    run.mkdir()
    for kind, header, body in (
        ("measurements", MEASURED, measurements),
        ("training", TRAINED, training),
    ):
        if body is not None:
            (run / f"{kind}.csv").write_text(header + body)
    return run


def alone(run: Path) -> pd.DataFrame:
    """The rows of one run, by the slow way."""
    parts = []
    if (run / "measurements.csv").exists():
        parts.append(pd.read_csv(run / "measurements.csv", dtype={"probes": "Int64"}))
    if (run / "training.csv").exists():
        trained = pd.read_csv(run / "training.csv").melt("step", var_name="quantity")
        parts.append(trained.sort_values("step", kind="stable").assign(operator="training"))
    whole = pd.concat(parts, ignore_index=True).reindex(columns=VALUES)
    return whole.astype({"probes": "Int64"})


RUNS = {
    "plain": ("0,k,trace,full,1.5,0.25,8\n2,k,trace,full,3.0,,0\n", "0,1.25,0.0\n1,1.0,0.5\n"),
    "steps_out_of_order": ("0,k,trace,full,1.0,0.0,8\n", "1,1.25,0.0\n0,1.0,0.5\n"),
    "no_measurements": (None, "0,0.1,1.0\n"),
    "no_training": ("0,k,trace,full,0.30000000000000004,1e-300,8\n", None),
    "words": ("0,k,trace,full,2.5,0.0,8\n", "0,tensor(0.5),1.0\n"),
    "quoted": ('0,"k,p",trace,full,2.5,0.0,8\n', "0,0.5,1.0\n"),
    "integers": ("0,k,trace,full,2.0,0.0,8\n", "0,1,0\n"),
    "not_numbers": ("0,k,trace,full,nan,inf,8\n", "0,inf,nan\n"),
    "no_rows": ("", "0,1.0,1.0\n"),
    "no_last_newline": ("0,k,trace,full,4.5,0.0,8", "0,1.0,1.0\n1,2.0,1.0"),
}


@pytest.mark.parametrize(
    "left_out", [("integers",), ("words", "no_rows"), ("words", "quoted", "integers")]
)
def test_all_at_once_is_each_alone(left_out: tuple[str, ...], tmp_path: Path) -> None:
    names = [name for name in RUNS if name not in left_out]
    runs = [put(tmp_path, name, *RUNS[name]) for name in names]
    found = read_rows(runs)
    expected = pd.concat([alone(run) for run in runs], ignore_index=True)
    written = found.drop(columns="run index").to_csv(index=False)
    assert written == expected.to_csv(index=False)
    assert found["run index"].tolist() == [
        index for index, run in enumerate(runs) for _ in range(len(alone(run)))
    ]


@pytest.mark.parametrize(
    "values",
    [[1, 2], [1, 2.5], [True, False], [None, 1.5], ["a", "b"], ["a", 1], [None, None]],
)
def test_a_value_a_run_is_written_as_it_would_be_beside_its_rows(values: list[object]) -> None:
    counts = (2, 3)
    beside = []
    for value, count in zip(values, counts, strict=True):
        part = pd.DataFrame({"x": range(count)})
        part.insert(0, "value", value)
        beside.append(part)
    rows = pd.Series([0] * counts[0] + [1] * counts[1])
    expected = pd.concat(beside, ignore_index=True)["value"]
    assert column_of(values, rows).to_csv(index=False) == expected.to_csv(index=False, header=["0"])
