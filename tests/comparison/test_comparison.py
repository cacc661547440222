"""Comparisons of runs whose files are made by hand, beside the same computed from these files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hand_made_runs import configured, put_run, put_sweep

from kpflow_cli.comparison.comparison import Comparison, Quantity, compare
from kpflow_cli.comparison.values import Value
from kpflow_cli.errors import DamagedFileError, UserError
from kpflow_cli.run.manifest import checksum, manifest_bytes, read_manifest

STEPS = (0, 3, 20)
QUANTITIES = [
    ("ntk", "effective_rank", "full"),
    ("ntk", "alignment", "full"),
    ("k", "trace", "full"),
]


def measured(
    place: int,
    steps: Sequence[int] = STEPS,
    quantities: Sequence[tuple[str, str, str]] = QUANTITIES,
) -> dict[str, pd.DataFrame]:
    """Tables of random numbers of a run's own."""
    generator = np.random.default_rng(place)
    rows = [
        (step, *name, generator.normal(5, 2), generator.random(), 8)
        if name[0] == "ntk"
        else (step, *name, generator.normal(), 0.0, 0)
        for step in steps
        for name in quantities
    ]
    columns = ["step", "operator", "quantity", "reduction", "value", "stderr", "probes"]
    every = sorted({*steps, 10})
    training = pd.DataFrame({"step": every, "loss": generator.random(len(every))})
    return {"measurements": pd.DataFrame(rows, columns=columns), "training": training}


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def put(runs_dir: Path, place: int, seed: int = 0, gain: float = 1.0, **more: Any) -> Path:
    return put_run(runs_dir, configured(gain, 7, seed), measured(place, **more), step=20)


def compared(*folders: Path, **options: Any) -> Comparison:
    return compare([str(folder) for folder in folders], **options)


def value_of(found: Comparison, place: int, *name: str) -> Value:
    (row,) = (each for each in found.quantities if each.name == Quantity(*name))
    return row.values[place]


def cell(folder: Path, step: int, name: tuple[str, str, str]) -> dict[str, Any]:
    table = pd.read_csv(folder / "measurements.csv")
    rows = table[
        (table["step"] == step)
        & (table["operator"] == name[0])
        & (table["quantity"] == name[1])
        & (table["reduction"] == name[2])
    ]
    assert len(rows) == 1
    return {str(key): value for key, value in rows.iloc[0].items()}


def test_single_runs_have_the_numbers_of_their_tables(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1), put(runs_dir, 2, gain=1.5)
    found = compared(one, other)
    assert found.steps == (20, 20)
    assert found.keys == ("model.gain",)
    assert [each.differing for each in found.configurations] == [
        {"model.gain": 1.0},
        {"model.gain": 1.5},
    ]
    assert found.names == ("A: gain=1", "B: gain=1.5")
    names = [row.name for row in found.quantities]
    assert names == [("training", "loss", ""), *QUANTITIES]
    for name in QUANTITIES:
        for place, folder in enumerate((one, other)):
            row, value = cell(folder, 20, name), value_of(found, place, *name)
            assert (value.value, value.error) == (row["value"], row["stderr"])
            assert value.kind == ("probes" if name[0] == "ntk" else "exact")
            assert value.count == row["probes"]
            assert math.isnan(value.spread)
    loss = [pd.read_csv(folder / "training.csv")["loss"].iloc[-1] for folder in (one, other)]
    assert [value_of(found, place, "training", "loss", "").value for place in (0, 1)] == loss
    rank = found.quantities[1].differences[0]
    a, b = cell(one, 20, QUANTITIES[0]), cell(other, 20, QUANTITIES[0])
    assert rank.amount == b["value"] - a["value"]
    assert rank.error == pytest.approx((a["stderr"] ** 2 + b["stderr"] ** 2) ** 0.5)
    assert rank.ratio == pytest.approx(rank.amount / rank.error)


def test_seeds_of_one_configuration_are_pooled(runs_dir: Path) -> None:
    folders = {
        (gain, seed): put(runs_dir, 10 * seed + int(gain), seed, gain)
        for seed in (0, 1, 2, 3)
        for gain in (1.0, 2.0)
    }
    found = compared(*folders.values())
    assert [each.seeds for each in found.configurations] == [[0, 1, 2, 3]] * 2
    assert found.keys == ("model.gain",)
    for name in QUANTITIES:
        for place, gain in enumerate((1.0, 2.0)):
            sample = pd.Series(
                [cell(folders[gain, seed], 20, name)["value"] for seed in (0, 1, 2, 3)]
            )
            value = value_of(found, place, *name)
            assert (value.kind, value.count) == ("seeds", 4)
            assert value.value == pytest.approx(sample.mean(), rel=1e-12)
            assert value.spread == pytest.approx(sample.std(), rel=1e-9)
            assert value.error == pytest.approx(sample.sem(), rel=1e-9)
    for curve, gain in zip(found.curves, (1.0, 2.0), strict=True):
        rows = curve[(curve["operator"] == "training") & (curve["step"] == 10)]
        losses = [
            pd.read_csv(folders[gain, seed] / "training.csv").set_index("step")["loss"][10]
            for seed in (0, 1, 2, 3)
        ]
        assert rows["value"].tolist() == pytest.approx([np.mean(losses)])
        assert rows["spread"].tolist() == pytest.approx([np.std(losses, ddof=1)])


def test_equal_numbers_of_seeds_have_no_spread(runs_dir: Path) -> None:
    # a mean of three times 0.1 is not 0.1
    tables = measured(0)
    tables["measurements"]["value"] = 0.1
    folders = [put_run(runs_dir, configured(1.0, 7, seed), tables, step=20) for seed in range(3)]
    found = compared(*folders)
    value = value_of(found, 0, *QUANTITIES[0])
    assert (value.value, value.error, value.spread) == (0.1, 0.0, 0.0)
    assert all(row.differences == () for row in found.quantities)


def test_the_last_step_that_all_measured_is_compared(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1, steps=(0, 3, 20)), put(runs_dir, 2, gain=2.0, steps=(0, 3, 50))
    found = compared(one, other)
    assert found.steps == (3, 3)
    assert any("A to 20, B to 50" in note for note in found.notes)
    assert value_of(found, 1, *QUANTITIES[0]).value == cell(other, 3, QUANTITIES[0])["value"]
    last = compared(one, other, step="last")
    assert last.steps == (20, 50)
    assert value_of(last, 1, *QUANTITIES[0]).value == cell(other, 50, QUANTITIES[0])["value"]
    assert compared(one, other, step="0").steps == (0, 0)
    # of a step at which only training.csv has rows
    training = compared(one, other, step="10")
    assert [row.name for row in training.quantities] == [("training", "loss", "")]
    for step, told in (("7", "in all are 0, 3, 10"), ("lst", "or the word last"), ("-3", "a step")):
        with pytest.raises(UserError, match=told):
            compared(one, other, step=step)


def test_without_a_step_in_common_it_says_which_there_are(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1, steps=(0, 3)), put(runs_dir, 2, gain=2.0, steps=(1, 4))
    with pytest.raises(UserError, match=r"no step in common: A .* has 0, 3; B .* has 1, 4; step=l"):
        compared(one, other)
    assert compared(one, other, step="last").steps == (3, 4)
    seeds = put(runs_dir, 3, seed=1, gain=2.0, steps=(2, 5))
    both = compared(other, seeds, step="10")
    assert both.steps == (10,)


def test_seeds_without_a_step_in_common_are_refused(runs_dir: Path) -> None:
    folders = [
        put_run(runs_dir, configured(1.0, 7, seed), {"training": table}, step=20)
        for seed, table in enumerate(
            pd.DataFrame({"step": [step], "loss": [1.0]}) for step in (0, 20)
        )
    ]
    with pytest.raises(
        UserError, match=rf"the seeds of A \({folders[0]}, {folders[1]}\) have none"
    ):
        compared(*folders)


def test_without_a_quantity_in_common_there_is_nothing_to_compare(runs_dir: Path) -> None:
    tables = measured(1)
    one = put_run(runs_dir, configured(1.0, 7, 0), {"training": tables["training"]}, step=20)
    other = put_run(
        runs_dir, configured(2.0, 7, 0), {"measurements": tables["measurements"]}, step=20
    )
    with pytest.raises(UserError, match="no quantity is in all 2 configurations"):
        compared(one, other)


def test_what_is_not_in_all_is_told(runs_dir: Path) -> None:
    one = put(runs_dir, 1)
    other = put(
        runs_dir, 2, gain=2.0, quantities=[*QUANTITIES[1:], ("p", "frobenius_norm", "full")]
    )
    found = compared(one, other)
    assert [row.name for row in found.quantities] == [("training", "loss", ""), *QUANTITIES[1:]]
    assert found.missing == ((("p", "frobenius_norm", "full"),), (QUANTITIES[0],))
    for curve in found.curves:
        assert set(curve["quantity"]) == {"loss", "alignment", "trace"}


def test_a_quantity_that_one_seed_lacks_is_missing(runs_dir: Path) -> None:
    tables = measured(3)
    rows = tables["measurements"]
    rows.loc[(rows["step"] == 20) & (rows["quantity"] == "alignment"), "value"] = math.nan
    folders = [
        put(runs_dir, 1, 0, gain=2.0),
        put(runs_dir, 2, 1, gain=2.0),
        put(runs_dir, 4, 0),
        put_run(runs_dir, configured(1.0, 7, 1), tables, step=20),
    ]
    found = compared(*folders)
    assert found.missing == ((), (QUANTITIES[1],))


def test_errors_are_called_what_they_are(runs_dir: Path) -> None:
    columns = ["step", "operator", "quantity", "reduction", "value", "stderr", "probes"]
    rows = pd.DataFrame(
        [
            (0, "ntk", "effective_rank", "full", 3.0, 0.5, 20),
            (0, "ntk", "trace", "full", 3.0, None, 1),
            (0, "ntk", "target_overlap_1", "full", 1e-20, 1e-19, 0),
            (0, "ntk", "operator_norm", "full", 3.0, 0.1, 4),
            (0, "k", "trace", "full", 3.0, 0.0, 0),
            (0, "k", "operator_norm", "full", 3.0, 0.0, 0),
        ],
        columns=columns,
    )
    folders = [
        put_run(runs_dir, configured(gain, 7, 0), {"measurements": rows}) for gain in (1.0, 2.0)
    ]
    found = compared(*folders)
    assert [(row.values[0].kind, row.differences[0].told) for row in found.quantities] == [
        ("probes", ""),
        ("unknown", "unknown"),
        ("bound", "within bound"),
        ("bound", "within bound"),
        ("exact", "exact"),
        ("exact", "exact"),
    ]


def test_one_seed_beside_several_is_noted(runs_dir: Path) -> None:
    folders = [put(runs_dir, 1), put(runs_dir, 2, 0, 2.0), put(runs_dir, 3, 1, 2.0)]
    assert any("one seed alone (A)" in note for note in compared(*folders).notes)
    assert any("One run a configuration" in note for note in compared(*folders[:2]).notes)


def test_quantities_are_picked_by_name(runs_dir: Path) -> None:
    folders = put(runs_dir, 1), put(runs_dir, 2, gain=2.0)
    for patterns, names in (
        (["k"], [QUANTITIES[2]]),
        (["ntk"], QUANTITIES[:2]),
        (["*rank", "loss"], [("training", "loss", ""), QUANTITIES[0]]),
    ):
        assert [row.name for row in compared(*folders, patterns=patterns).quantities] == names
    with pytest.raises(UserError, match=r"quantities=alignmnt: .*did you mean 'alignment'"):
        compared(*folders, patterns=["alignmnt"])
    less = put(runs_dir, 3, gain=3.0, quantities=QUANTITIES[:2])
    with pytest.raises(UserError, match="quantities=k,trace: C has none"):
        compared(*folders, less, patterns=["k", "trace"])


def test_runs_of_a_sweep_are_in_the_order_of_their_keys(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {
        (gain, seed): put(runs_dir, seed, seed, gain)
        for gain in (10.0, 2.0, 0.5)
        for seed in (1, 0)
    }
    sweep = put_sweep(runs_dir, list(folders.values()), "000000000000")
    found = compared(sweep)
    assert [each.differing["model.gain"] for each in found.configurations] == [0.5, 2.0, 10.0]
    assert [each.seeds for each in found.configurations] == [[0, 1]] * 3
    assert "1 of 7 runs are not complete" in capsys.readouterr().err
    # a run that is named before comes first and counts once
    first = compared(folders[10.0, 1], sweep)
    assert [each.differing["model.gain"] for each in first.configurations] == [10.0, 0.5, 2.0]
    assert [each.seeds for each in first.configurations] == [[1, 0], [0, 1], [0, 1]]
    (runs_dir / "notes").mkdir()
    assert compare([f"{runs_dir}/*"]).steps == (20, 20, 20)


def test_a_run_that_is_named_twice_is_refused(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1), put(runs_dir, 2, gain=2.0)
    with pytest.raises(UserError, match="named twice"):
        compared(one, other, one / ".." / one.name)
    copied = shutil.copytree(one, runs_dir / "copied")
    with pytest.raises(UserError, match=rf"{copied}: the configuration and seed of {one}"):
        compared(one, other, copied)


def test_what_is_no_run_is_refused(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1), put(runs_dir, 2, gain=2.0)
    with pytest.raises(UserError, match=rf"not there \(did you mean '{other.name}'\?\)"):
        compared(one, other.with_name(other.name[:-1]))
    (runs_dir / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no run folder; compare takes run folders"):
        compared(one, runs_dir / "empty")
    with pytest.raises(UserError, match="no sweep file"):
        compared(one, other / "training.csv")
    with pytest.raises(UserError, match="no run folder fits"):
        compared(one, runs_dir / "x*")
    with pytest.raises(UserError, match=f"two runs or more, got {one}"):
        compared(one)


def test_a_damaged_table_is_refused(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1), put(runs_dir, 2, gain=2.0)
    table = other / "measurements.csv"
    table.write_text(table.read_text().replace("8\n", "9\n", 1))
    with pytest.raises(DamagedFileError, match=r"measurements\.csv: not as it was written"):
        compared(one, other)
    table.unlink()
    with pytest.raises(DamagedFileError, match=r"measurements\.csv: not as it was written"):
        compared(one, other)
    (other / "run.json").write_text("{}")
    with pytest.raises(DamagedFileError, match=r"run\.json: not there as it was written"):
        compared(one, other)


def test_a_run_without_measurements_is_refused(runs_dir: Path) -> None:
    one = put(runs_dir, 1)
    empty = put_run(runs_dir, configured(2.0, 7, 0), {})
    with pytest.raises(UserError, match=rf"{empty}: has no measurements"):
        compared(one, empty)
    # one that was trained and not measured has its losses
    trained = put_run(runs_dir, configured(3.0, 7, 0), {"training": measured(4)["training"]})
    found = compared(one, trained)
    assert [row.name for row in found.quantities] == [("training", "loss", "")]
    assert found.steps == (20, 20)


def rewrite_status(folder: Path, **changes: Any) -> None:
    content = json.dumps(json.loads((folder / "run.json").read_text()) | changes).encode()
    (folder / "run.json").write_bytes(content)
    sums = (read_manifest(folder) or {}) | {"run.json": checksum(content)}
    (folder / "SHA256SUMS").write_bytes(manifest_bytes(sums))


def test_a_run_that_is_not_complete_is_compared_as_far_as_it_is(runs_dir: Path) -> None:
    one, other = put(runs_dir, 1), put(runs_dir, 2, gain=2.0, steps=(0, 3))
    rewrite_status(other, status="running", step=3)
    assert any("interrupted at step 3 of 20" in note for note in compared(one, other).notes)
    with FileLock(other / ".lock"):
        # its table is written, the checksum of it not yet
        table = other / "measurements.csv"
        table.write_text(table.read_text() + "4,ntk,alignment,full,1.0,0.1,8\n")
        found = compared(one, other)
        assert any("running at step 3 of 20" in note for note in found.notes)
        assert found.steps == (3, 3)
    rewrite_status(other, status="diverged", error="training diverged")
    with pytest.raises(DamagedFileError):
        compared(one, other)
