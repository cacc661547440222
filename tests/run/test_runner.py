"""Runs: the tables they write, and that no interruption changes a byte of them."""

from __future__ import annotations

import json
import operator
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from small_runs import KPFLOW, SMALL, TABLES, kpflow, small_config, table_bytes
from torch import nn

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.run import measuring, provenance
from kpflow_cli.run.checkpoints import Checkpoint
from kpflow_cli.run.folder import RunFolder, open_run_folder
from kpflow_cli.run.reading import is_complete
from kpflow_cli.run.runner import run

REDUCTIONS = ("full", "temporal_mean", "temporal_trace", "spatial_mean", "spatial_trace")
STEPS = [0, 2, 5, 15, 40]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    run(small_config(), run_dir, {})
    return run_dir


def test_measurements_have_one_row_for_each_quantity(finished: Path) -> None:
    table = pd.read_csv(finished / "measurements.csv")
    assert list(table.columns) == [
        "step",
        "operator",
        "quantity",
        "reduction",
        "value",
        "stderr",
        "probes",
    ]
    assert not table.duplicated(["step", "operator", "quantity", "reduction"]).any()
    whole = ("trace", "frobenius_norm", "effective_rank")
    expected = {("ntk", quantity, reduction) for quantity in whole for reduction in REDUCTIONS}
    expected |= {
        ("ntk", q, "full") for q in ("alignment", "operator_norm", "random_core_alignment")
    }
    expected |= {
        ("ntk", f"{q}_{mode}", "full")
        for q in ("target_overlap", "rayleigh_quotient")
        for mode in (1, 2, 3)
    }
    expected |= {
        (operator, quantity, "full")
        for operator in ("k", "core")
        for quantity in (*whole, "operator_norm")
    }
    expected |= {
        ("v", quantity, "full")
        for quantity in ("frobenius_norm", "effective_rank", "operator_norm")
    }
    expected |= {(f"v_{site}", "effective_rank", "full") for site in ("recurrent", "input")}
    expected |= {("p", quantity, "full") for quantity in ("frobenius_norm", "operator_norm")}
    for step in STEPS:
        rows = table[table["step"] == step]
        assert (
            set(zip(rows["operator"], rows["quantity"], rows["reduction"], strict=True)) == expected
        )
    assert sorted(table["step"].unique()) == STEPS
    assert table[["value", "stderr", "probes"]].notna().all().all()


def test_exact_quantities_carry_no_error(finished: Path) -> None:
    table = pd.read_csv(finished / "measurements.csv")
    exact = table[
        table["operator"].isin(["k", "core", "v"])
        | ((table["operator"] == "p") & (table["quantity"] == "frobenius_norm"))
    ]
    assert (exact["stderr"] == 0).all()
    assert (exact["probes"] == 0).all()
    estimated = table[
        (table["operator"] == "ntk")
        & (table["quantity"] == "trace")
        & (table["reduction"] == "full")
    ]
    assert (estimated["stderr"] > 0).all()
    assert (estimated["probes"] == 20).all()


def test_values_stay_in_their_ranges(finished: Path) -> None:
    table = pd.read_csv(finished / "measurements.csv")
    fractions = table[
        table["quantity"].str.startswith("target_overlap_") | (table["quantity"] == "alignment")
    ]["value"]
    assert fractions.between(0, 1).all()
    assert (table[table["quantity"] == "effective_rank"]["value"] >= 1).all()
    spectra = pd.read_csv(finished / "spectra.csv")
    assert list(spectra.columns) == ["step", "operator", "index", "value", "cumulative"]
    assert set(spectra["operator"]) == {"ntk", "k", "p", "v"}
    assert spectra["cumulative"].between(0, 1).all()
    for _, one in spectra.groupby(["step", "operator"]):
        assert one["value"].is_monotonic_decreasing
        assert one["cumulative"].is_monotonic_increasing


def test_training_table(finished: Path) -> None:
    table = pd.read_csv(finished / "training.csv")
    fractions = [f"learned_fraction_{mode}" for mode in (1, 2, 3)]
    assert list(table.columns) == ["step", "loss", "evaluation_loss", "accuracy", *fractions]
    assert list(table["step"]) == [0, 10, 20, 30, 40]


def test_checkpoints_load_as_plain_weights(finished: Path) -> None:
    names = {path.name for path in (finished / "checkpoints").iterdir()}
    assert names == {f"step_{step}.pt" for step in STEPS}
    content = torch.load(finished / "checkpoints" / "step_40.pt", weights_only=True)
    assert content["step"] == 40
    assert content["config"]["seed"] == content["seed"] == 0
    gru = nn.GRU(3, 7, batch_first=True)
    gru.load_state_dict(
        {
            name.removeprefix("gru."): value
            for name, value in content["model"].items()
            if name.startswith("gru.")
        }
    )


def test_record_says_what_made_it(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["step"] == record["steps"] == 40
    # the build, such as +cpu, is not in every distribution's version
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert {"training", "measuring", "plotting"} <= record["seconds"].keys()
    assert record["duration"] == pytest.approx(sum(record["seconds"].values()), abs=0.01)
    assert record["continues"] == []
    assert record["peak_memory_mib"] > 0


def test_record_of_a_continued_run_names_every_session(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    (path / "checkpoints" / "step_40.pt").unlink()
    earlier = json.loads((path / "run.json").read_text()) | {"status": "running", "step": 15}
    with open_run_folder(path, identity(small_config())) as folder:
        folder.write_status(earlier)
    monkeypatch.setattr(provenance, "commit", lambda: "another")
    run(small_config(), path, {})
    record = json.loads((path / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["commit"] == "another"
    assert record["continues"] == [
        {key: earlier[key] for key in ("step", "versions", "commit", "platform")}
    ]
    assert table_bytes(path) == table_bytes(finished)


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_checkpoint_that_does_not_fit_is_refused(part: str, finished: Path, tmp_path: Path) -> None:
    """Another network, another learning rate: what holds is what the configuration says."""
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    with open_run_folder(path, identity(small_config())) as folder:
        checkpoint = folder.load_checkpoint(path / "checkpoints" / "step_40.pt")
        if part == "model":
            checkpoint.model["readout.bias"] = torch.zeros(5)
        else:
            checkpoint.optimizer["param_groups"][0]["lr"] = 0.5
        folder.save_checkpoint(checkpoint, measured=True)
    with pytest.raises(UserError, match="the checkpoint of step 40 does not fit the model"):
        run(small_config(), path, {})


DAMAGES = {
    "bit of the last checkpoint": ["checkpoints/step_40.pt"],
    "bits of three checkpoints": [f"checkpoints/step_{step}.pt" for step in (5, 15, 40)],
    "bits of all checkpoints": [f"checkpoints/step_{step}.pt" for step in STEPS],
    "bit of a table": ["measurements.csv"],
    "bits of a table and of the last checkpoint": ["spectra.csv", "checkpoints/step_40.pt"],
    "bit of the status": ["run.json"],
    "bit of the configuration": ["config.yaml"],
    "bit of the manifest": ["SHA256SUMS"],
}


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_ends_with_the_same_bytes(
    damage: str, complete: bool, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    if not complete:
        (path / "run.json").unlink()
    for name in DAMAGES[damage]:
        if (path / name).exists():
            content = bytearray((path / name).read_bytes())
            content[len(content) // 2] ^= 4
            (path / name).write_bytes(content)
    run(small_config(), path, {})
    assert table_bytes(path) == table_bytes(finished)
    assert is_complete(path)
    told = capsys.readouterr().out
    if not complete and "checkpoint" in damage:
        assert "step_40.pt: not a whole kpflow checkpoint" in told
    if complete and damage == "bit of a table":
        assert "measurements.csv: not there as written; written again" in told
    torch.load(path / "checkpoints" / "step_40.pt", weights_only=True)


def test_another_runs_files_decide_nothing(finished: Path, tmp_path: Path) -> None:
    run(small_config("seed=1"), tmp_path / "other", {})
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    (path / "checkpoints" / "step_40.pt").unlink()
    for name in ("run.json", "SHA256SUMS", "training.csv", "measurements.csv", "outputs.csv"):
        shutil.copy(tmp_path / "other" / name, path)
    run(small_config(), path, {})
    assert table_bytes(path) == table_bytes(finished)


def test_a_plot_that_fails_does_not_fail_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_tables: object) -> None:
        raise KeyError("colour")

    run(small_config("training.steps=1"), tmp_path / "run", {"training": fail})
    assert is_complete(tmp_path / "run")
    assert "plots/training: not drawn (KeyError: 'colour')" in capsys.readouterr().out


class Terminated(BaseException):
    """What a handler of the signal raises that the run passes it on to."""


@pytest.mark.parametrize("activity", ["measuring", "training", "drawing"])
def test_a_signal_breaks_off_what_can_be_dropped(
    activity: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it measures step 15 nothing of that step is kept, but the training up to it is."""

    def end(*_: object) -> None:
        raise Terminated

    def signalled(at_once: Any, condition: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if condition(*arguments):
                signal.raise_signal(signal.SIGTERM)
                assert activity == "training", "not broken off"
            return at_once(*arguments, **keywords)

        return call

    plots = {}
    if activity == "drawing":
        plots = {"none": signalled(lambda _tables: None, lambda _tables: True)}
    path, previous = tmp_path / "run", signal.signal(signal.SIGTERM, end)
    try:
        with monkeypatch.context() as patch:
            if activity == "measuring":
                measures = iter(range(10))
                measure = signalled(measuring.measure, lambda *_: next(measures) == 3)
                patch.setattr(measuring, "measure", measure)
            elif activity == "training":
                steps = iter(range(100))
                step = signalled(torch.optim.SGD.step, lambda *_: next(steps) == 11)
                patch.setattr(torch.optim.SGD, "step", step)
            with pytest.raises(Terminated):
                run(small_config(), path, plots)
    finally:
        signal.signal(signal.SIGTERM, previous)
    status = json.loads((path / "run.json").read_text())
    assert status["status"] == "interrupted"
    assert status["step"] == {"measuring": 15, "training": 12, "drawing": 40}[activity]
    measured = pd.read_csv(path / "measurements.csv")["step"].unique().tolist()
    assert measured == (STEPS if activity == "drawing" else [0, 2, 5])
    run(small_config(), path, {})
    assert table_bytes(path) == table_bytes(finished)


def test_a_signal_while_measuring_that_leaves_it_alive_measures_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of submitit is put back into the queue and goes on until it is taken away."""
    measure, calls, received = measuring.measure, [], []

    def interrupted_once(*arguments: Any, **keywords: Any) -> Any:
        calls.append(0)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGUSR2)
        return measure(*arguments, **keywords)

    previous = signal.signal(signal.SIGUSR2, lambda *_: received.append(0))
    try:
        monkeypatch.setattr(measuring, "measure", interrupted_once)
        run(small_config(), tmp_path / "run", {})
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert (len(calls), len(received)) == (6, 1)
    assert table_bytes(tmp_path / "run") == table_bytes(finished)


def test_same_seed_gives_the_same_bytes_another_seed_does_not(
    finished: Path, tmp_path: Path
) -> None:
    run(small_config(), tmp_path / "same", {})
    assert table_bytes(tmp_path / "same") == table_bytes(finished)
    run(small_config("seed=1"), tmp_path / "other", {})
    assert table_bytes(tmp_path / "other")["training.csv"] != table_bytes(finished)["training.csv"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the run may catch it and go on."""


# a run of this size writes 48 files; these deaths fall on the first, between checkpoint and tables,
# between checkpoints, at the end
@pytest.mark.parametrize("writes", [0, 1, 2, 3, 5, 8, 9, 10, 17, 24, 31, 37, 40, 42, 45, 47])
def test_death_at_any_write_changes_nothing(
    writes: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = writes
    write = RunFolder.write

    def dying_write(folder: RunFolder, name: str, content: bytes) -> None:
        nonlocal left
        if left == 0:
            path = folder.path / name
            path.parent.mkdir(exist_ok=True)
            path.with_name(f".{path.name}.partial").write_bytes(content[: len(content) // 2])
            raise Killed
        left -= 1
        write(folder, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write", dying_write)
        with pytest.raises(Killed):
            run(small_config(), tmp_path / "run", {})
    run(small_config(), tmp_path / "run", {})
    assert table_bytes(tmp_path / "run") == table_bytes(finished)


@pytest.mark.slow
def test_killed_three_times_and_continued(tmp_path: Path) -> None:
    arguments = ("run", *SMALL, "training.steps=1500", "analysis.checkpoints=8", "save_interval=20")
    assert kpflow(*arguments, "run_dir=undisturbed", cwd=tmp_path).returncode == 0
    moments = random.Random(0)
    statuses = []
    for shortest in (0.3, 2.5, 2.5):
        with subprocess.Popen(
            [KPFLOW, *arguments, "run_dir=killed"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            started = time.monotonic()
            while (
                not (tmp_path / "killed" / "checkpoints").exists()
                and process.poll() is None
                and time.monotonic() - started < 60
            ):
                time.sleep(0.01)
            time.sleep(shortest + moments.random())
            process.send_signal(signal.SIGKILL)
            statuses.append(process.wait())
    # the later ones may find the run at its end
    assert statuses[0] == -signal.SIGKILL
    done = kpflow(*arguments, "run_dir=killed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(table_bytes(tmp_path / "killed")) == {f"{name}.csv" for name in TABLES}
    assert table_bytes(tmp_path / "killed") == table_bytes(tmp_path / "undisturbed")


def _die_and_continue(
    config: DictConfig, path: Path, death: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies after the checkpoint of a step, and is run again."""
    save = RunFolder.save_checkpoint

    def save_and_die(folder: RunFolder, checkpoint: Checkpoint, *, measured: bool) -> None:
        save(folder, checkpoint, measured=measured)
        if checkpoint.step == death:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            run(config, path, {})
    run(config, path, {})


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "shampoo"])
def test_optimizer_state_continues(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(f"training={optimizer}", "training.steps=30")
    run(config, tmp_path / "undisturbed", {})
    _die_and_continue(config, tmp_path / "continued", 21, monkeypatch)
    assert table_bytes(tmp_path / "continued") == table_bytes(tmp_path / "undisturbed")


@pytest.mark.parametrize("network", ["Normalized", "Counting", "Remembering"])
@pytest.mark.parametrize("death", [3, 14])
def test_all_state_of_a_network_continues(
    network: str, death: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death at a measured step and at an intermediate one."""
    config = small_config(
        "model=custom",
        f"model.target=stateful_modules.{network}",
        "training.steps=15",
        "training.evaluation_interval=1",
        "analysis.measures=[k]",
    )
    run(config, tmp_path / "undisturbed", {})
    _die_and_continue(config, tmp_path / "continued", death, monkeypatch)
    assert table_bytes(tmp_path / "continued") == table_bytes(tmp_path / "undisturbed")
    last = [
        torch.load(path / "checkpoints" / "step_15.pt", weights_only=False)["model"]
        for path in (tmp_path / "continued", tmp_path / "undisturbed")
    ]
    for name, value in last[0].items():
        same = torch.equal if torch.is_tensor(value) else operator.eq
        assert same(value, last[1][name])


def test_state_that_cannot_be_read_back_is_refused_before_work(tmp_path: Path) -> None:
    config = small_config("model=custom", "model.target=stateful_modules.Unreadable")
    with pytest.raises(UserError, match=r"extra state 'network\._extra_state' holds what"):
        run(config, tmp_path / "run", {})
    assert not list((tmp_path / "run").glob("checkpoints"))


def test_float64_and_other_models_run(tmp_path: Path) -> None:
    for model in ("rnn", "vanilla_rnn"):
        run(
            small_config(f"model={model}", "dtype=float64", "training.steps=2"),
            tmp_path / model,
            {},
        )
        assert (tmp_path / model / "measurements.csv").exists()


def test_another_configuration_is_refused(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with pytest.raises(
        UserError, match=r"another configuration; model\.gain=1\.0 there, 2\.0 here$"
    ):
        run(small_config("model.gain=2"), finished, {})
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
