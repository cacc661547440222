"""Every command through the installed entry point: what it prints, its exit status, what it leaves
behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import KPFLOW, SMALL, TABLES, kpflow

from kpflow_cli import __version__


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    cwd = tmp_path_factory.mktemp("finished")
    return cwd, kpflow("run", "task=memorypro", "model=gru", *SMALL, cwd=cwd)


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = kpflow("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert all(f"\n  {command} " in shown.stdout for command in ("run", "verify", "list"))


def test_the_installed_command_tells_its_version(tmp_path: Path) -> None:
    asked = subprocess.run([KPFLOW, "--version"], capture_output=True, text=True, check=True)
    assert asked.stdout == f"kpflow {__version__}\n"


def test_list_describes_every_choice(tmp_path: Path) -> None:
    listed = kpflow("list", cwd=tmp_path)
    assert listed.returncode == 0
    for choice in ("memorypro", "gru", "rnn", "vanilla_rnn", "sgd", "momentum", "adam", "standard"):
        line = next(line for line in listed.stdout.splitlines() if line.split()[:1] == [choice])
        assert len(line.split()) > 1


def test_run_ends_with_the_name_of_its_folder(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    cwd, done = finished
    assert done.returncode == 0, done.stderr
    run_dir = cwd / done.stdout.splitlines()[-1]
    assert run_dir.parent == cwd / "runs" / "memorypro" / "gru"
    expected = {
        "config.yaml",
        "run.json",
        "SHA256SUMS",
        "summary.txt",
        "checkpoints",
        "plots",
        ".lock",
        *(f"{name}.csv" for name in TABLES),
    }
    assert {entry.name for entry in run_dir.iterdir()} == expected
    plots = ("training", "effective_ranks", "alignment", "spectra", "temporal_modes", "outputs")
    assert {path.name for path in (run_dir / "plots").iterdir()} == {
        f"{name}.{kind}" for name in plots for kind in ("png", "pdf", "svg")
    }


def test_run_writes_nothing_elsewhere(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    cwd, _ = finished
    assert [entry.name for entry in cwd.iterdir()] == ["runs"]


def test_run_shows_loss_and_standard_errors(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = finished
    assert "loss=" in done.stderr
    # one line a measured checkpoint, seven statistics in each with its relative standard error
    lines = [line for line in done.stdout.splitlines() if line.count(" +- ") == 7]
    assert [int(line.split()[0]) for line in lines] == [0, 2, 5, 15, 40]


def test_repeated_run_has_nothing_to_do(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    cwd, done = finished
    run_dir = cwd / done.stdout.splitlines()[-1]
    (run_dir / "spectra.csv").rename(run_dir / "spectra.moved")
    # whoever takes a lock may write its time
    files = [path for path in run_dir.rglob("*.*") if path.name != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in files}
    again = kpflow("run", *SMALL, cwd=cwd)
    assert again.returncode == 0
    assert "done and measured already" in again.stdout
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    assert (run_dir / "spectra.csv").read_bytes() == (run_dir / "spectra.moved").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (run_dir / "spectra.moved").unlink()


def test_finished_run_without_checkpoints_is_left_alone(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    cwd, done = finished
    shutil.copytree(cwd / done.stdout.splitlines()[-1], tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "checkpoints")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    again = kpflow("run", *SMALL, "run_dir=out", cwd=tmp_path)
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_sweep_makes_a_folder_a_point(tmp_path: Path) -> None:
    done = kpflow(
        "run", "-m", *SMALL, "training.steps=2", "model.gain=0.5,1", "run_dir=points", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["points"]
    assert (
        len(
            [
                entry
                for entry in (tmp_path / "points").iterdir()
                if (entry / "measurements.csv").exists()
            ]
        )
        == 2
    )


def test_a_named_grid_wants_a_sweep(tmp_path: Path) -> None:
    refused = kpflow("run", "+sweep=memorypro_gain", cwd=tmp_path)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == "kpflow: +sweep=memorypro_gain: asks for a grid of runs; `kpflow run -m` makes them\n"
    )


def test_sweep_with_a_bad_point_starts_nothing(tmp_path: Path) -> None:
    refused = kpflow("run", "-m", *SMALL, "model.gain=0.5,-1", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "kpflow: model.gain=-1: impossible; valid: at least 0\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["gru", "rnn", "vanilla_rnn"])
def test_verify_holds(model: str, tmp_path: Path) -> None:
    done = kpflow("verify", f"model={model}", "threads=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    errors = [float(line.split()[-1]) for line in done.stdout.splitlines()[2:-1]]
    assert len(errors) > 40
    assert max(errors) < 1e-10
    assert not list(tmp_path.iterdir())


def test_verify_goes_over_every_point(tmp_path: Path) -> None:
    done = kpflow("verify", "-m", "dtype=float32,float64", "model=rnn", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "kpflow: 1 of 2 verifications failed: dtype=float32: dtype=float32: verify works in "
        "float64\n"
    )
    assert done.stdout.splitlines()[:2] == ["dtype=float32", "dtype=float64"]
    assert "ContinuousTimeRNN on MemoryPro" in done.stdout
    assert not list(tmp_path.iterdir())


def test_verify_has_a_help_page_of_its_own(tmp_path: Path) -> None:
    shown = kpflow("verify", "model=attention", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: kpflow verify ")
    assert "  model.heads " in shown.stdout
    assert "model.gain" not in shown.stdout
    assert "[float64]" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["rum"],
            (
                "no command 'rum' (did you mean 'run'?); valid: run, measure, runs, watch, "
                "verify, figure, claims, table, report, compare, bench, list"
            ),
        ),
        (["runs"], "runs: no such folder here; `kpflow run` makes it, `kpflow runs FOLDER` looks"),
        (["runs", "."], ".: holds no runs of kpflow"),
        (["runs", "nowhere"], "nowhere: cannot be read (No such file or directory)"),
        (["runs", "--opne"], "no option '--opne' (did you mean '--open'?); valid: --help, --open"),
        (["runs", "--remove"], "--remove: which? name folders, or filters such as status="),
        (["runs", ".", "--remove", "--csv"], "runs takes one of --open, --remove and --csv"),
        (["runs", "--yes"], "--yes: answers the question of --remove, which is not there"),
        (["watch"], "runs: no run is running there; `kpflow runs` lists those there are"),
        (["watch", "runs/x"], "runs/x: not there, or not yet; `kpflow runs` lists those there"),
        (["watch", "."], ".: no run folder; `kpflow runs` lists those there are"),
        (["watch", "0a1b2c"], "0a1b2c: not there, or not yet; `kpflow runs` lists"),
        (["watch", "a", "b"], "watch takes one run, got a b"),
        (["watch", "a", "every=0"], "every=0: impossible; valid: at least 0.05, at most 86400"),
        (["list", "x"], "list takes no arguments, got 'x'"),
        (
            ["list", "--config"],
            "no option '--config' (did you mean '--config-dir'?); valid: --help",
        ),
        (["list", "--config-dir", "x"], "--config-dir=x: not a folder"),
        (["claims", "a", "b"], "claims takes one folder, got 'a b'"),
        (["claims", "--all"], "no option '--all'; valid: --help"),
        (
            ["table", "x", "colums=seed"],
            "no option 'colums=seed' (did you mean 'columns'?); valid:",
        ),
        (["bench", "unit=3"], "bench has no key 'unit=3' (did you mean 'units'?); valid: trials=,"),
        (["figure", "3", "--lst"], "no figure '--lst' (did you mean '--list'?); there are 1, 2,"),
        (["run", "--config-dir", "x"], "Additional config directory"),
        (["run", "-cn", "x"], "no configuration 'x'"),
        (["run", "model.kwargs.x=1"], "no key 'model.kwargs'"),
        (["run", "model=custom", "model.kwargs.x=1"], "no key 'model.kwargs.x'; keys there:"),
        (["run", "hydra.job.nonsense=1"], "no key 'hydra.job.nonsense'"),
        (["run", "model=gru,rnn"], "model=gru,rnn: asks for a grid of runs; `kpflow run -m` makes"),
        (["run", "hydra.mode=MULTIRUN"], "hydra.mode=MULTIRUN: asks for a grid of runs;"),
        (["run", "task=[memorypro]"], "task: choose one, by its name alone;"),
        (
            ["run", "task=memorpro"],
            "no task 'memorpro' (did you mean 'memorypro'?); valid: arrays, attention, flipflop, ",
        ),
        (
            ["run", "model=gur"],
            "no model 'gur' (did you mean 'gru'?); valid: attention, cnn, custom, dale, gru, ",
        ),
        (
            ["run", "model.gian=1"],
            "no key 'model.gian' (did you mean 'gain'?); keys there: _target_, units, gain,",
        ),
        (["run", "sede=1"], "no key 'sede' (did you mean 'seed'?); keys there:"),
        (["run", "+model.depth=1"], "no key 'model.depth'; keys there: _target_, units,"),
        (
            ["run", "model.gain=abc"],
            "model.gain=abc: Value 'abc' of type 'str' could not be converted to Float",
        ),
        (["run", "model.units=0"], "model.units=0: impossible; valid: at least 1"),
        (
            ["run", "model.units=2.5"],
            "model.units=2.5: Value '2.5' of type 'float' could not be converted to Integer",
        ),
        (["run", "training.steps=-1"], "training.steps=-1: impossible; valid: at least 0"),
        (
            ["run", "training.learning_rate=nan"],
            "training.learning_rate=nan: impossible; valid: above 0",
        ),
        (
            ["run", "training.optimizer=sdg"],
            "training.optimizer=sdg: impossible (did you mean 'sgd'?); valid: sgd, momentum, adam",
        ),
        (
            ["run", "training.optimizer=momentum"],
            "training.momentum=0: training.optimizer=momentum needs one above 0; training=momentum",
        ),
        (
            ["run", "training.momentum=0.5"],
            "training.momentum=0.5: training.optimizer=sgd takes none",
        ),
        (
            ["run", "analysis.eigenvalues=81"],
            "analysis.eigenvalues=81: the Krylov spaces hold 80 for NTK_S and 840 for P; raise",
        ),
        (["run", "analysis.probes=1"], "analysis.probes=1: impossible; valid: at least 2"),
        (
            ["run", "model.initialization=xavier"],
            "model.initialization=xavier: impossible (did you mean 'xavier_normal'?)",
        ),
        (
            ["run", "dtype=float16"],
            "dtype=float16: impossible (did you mean 'float64'?); valid: float32, float64",
        ),
        (["run", "device=gpu"], "device=gpu: unknown; valid: cpu, cuda, cuda:<index>"),
        (["run", "device=cuda:99"], "device=cuda:99: this machine has"),
        (["run", "~task"], "task=None: choose one"),
        (["run", "task=[1"], "cannot read 'task=[1'"),
        (["run", "foo"], "cannot read 'foo'"),
        (["run", "--foo"], "unrecognized arguments: --foo"),
        (["run", "model._target_=nowhere.Net"], "model._target_=nowhere.Net: cannot be imported"),
        (
            ["run", "model._target_=torch.nn.Linear"],
            "model._target_=torch.nn.Linear: does not take the keys of this model",
        ),
        (
            ["run", "model._target_=torch.nn.Identity"],
            "model._target_=torch.nn.Identity: is no Model",
        ),
        (["run", "--resolve"], ""),
        (["run", "-m", "--cfg", "job"], ""),
        (["-sc"], ""),
        (["-sc", "install=tcsh"], ""),
        (["run", "run_dir=/dev/null"], "run_dir=/dev/null: not a folder"),
        (["run", "run_dir=/dev/null/x"], "run_dir=/dev/null/x: cannot be"),
        (["verify", "model.units=4000"], "B T n = 60000: too large"),
        (["verify", "dtype=float32"], "dtype=float32: verify works in float64"),
        (["verify", "-m", "model=gru,grru"], "no model 'grru' (did you mean 'gru'?)"),
        (
            ["verify", "-m", "dtype=float32", "seed=0,1"],
            "2 of 2 verifications failed: seed=0: dtype=",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    refused = kpflow(*arguments, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"kpflow: {told}")
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_divergence_is_reported(tmp_path: Path) -> None:
    diverged = kpflow("run", *SMALL, "training.learning_rate=1e30", "run_dir=out", cwd=tmp_path)
    assert diverged.returncode == 1
    assert "kpflow: training diverged: loss" in diverged.stderr.splitlines()[-1]
    assert '"status": "diverged"' in (tmp_path / "out" / "run.json").read_text()
    assert (tmp_path / "out" / "training.csv").exists()
    assert diverged.stdout.splitlines()[-1] == "out"


def test_overflow_is_reported(tmp_path: Path) -> None:
    chaotic = ("model=vanilla_rnn", "model.units=60", "model.gain=10", "task.memory_steps=120")
    overflown = kpflow("run", *SMALL, *chaotic, "run_dir=out", cwd=tmp_path)
    assert overflown.returncode == 1
    assert overflown.stderr.splitlines()[-1].startswith(
        "kpflow: step 0: NTK_S exceeds the range of float32; try dtype=float64"
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (("task.time_steps=1",), "NTK_S is 0 in float32: no trained parameter moves the state"),
        # every unit saturates: not a slope is left
        (("model.gain=1e10",), "NTK_S is 0 in float32: no trained parameter moves the state"),
    ],
)
def test_state_that_nothing_moves_is_reported(
    tmp_path: Path, changes: tuple[str, ...], word: str
) -> None:
    student = (
        "task=student_teacher",
        "task.case=W",
        "task.input_dim=8",
        "task.input_rank=4",
        "task.evaluation_trials=4",
    )
    small = [override for override in SMALL if not override.startswith("task.")]
    stuck = kpflow(
        "run", *small, "model=vanilla_rnn", *student, *changes, "run_dir=out", cwd=tmp_path
    )
    assert stuck.returncode == 1
    assert stuck.stderr.splitlines()[-1].startswith(f"kpflow: step 0: {word}")


def test_value_that_is_no_number_is_reported(tmp_path: Path) -> None:
    """Products within the range of float32 whose squares are not: inf less inf."""
    overflown = kpflow("run", *SMALL, "model=rnn", "model.gain=1e10", "run_dir=out", cwd=tmp_path)
    assert overflown.returncode == 1
    assert overflown.stderr.splitlines()[-1].startswith(
        "kpflow: step 0: NTK_S exceeds the range of float32; try dtype=float64"
    )


def test_show_configuration_without_torch(tmp_path: Path) -> None:
    program = (
        "import atexit, os, sys; sys.argv = ['kpflow', {!r}, *{!r}]; "
        "atexit.register(lambda: (print(flush=True), os._exit(3 * ('torch' in sys.modules)))); "
        "from kpflow_cli.cli import main; main()"
    )
    for command, arguments in (
        ("run", ["--cfg", "job"]),
        ("list", []),
        ("figure", ["--help"]),
        ("figure", ["--list"]),
        ("claims", ["--help"]),
        ("table", ["--help"]),
        ("runs", ["--help"]),
        ("watch", ["--help"]),
        ("bench", ["--help"]),
        ("list", ["--help"]),
        ("--help", []),
    ):
        shown = subprocess.run(
            [sys.executable, "-c", program.format(command, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.strip()


def test_run_help_explains_every_key(tmp_path: Path) -> None:
    shown = kpflow("run", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    for key in (
        "task.noise",
        "model.gain",
        "training.learning_rate",
        "analysis.probes",
        "seed",
        "threads",
        "run_dir",
    ):
        assert any(
            line.startswith(f"  {key} ") and len(line.split()) > 2
            for line in shown.stdout.splitlines()
        ), key


def _completions(line: str, cwd: Path) -> list[str]:
    environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    asked = subprocess.run(
        [KPFLOW, "-sc", "query=bash"],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (
            "kpflow ",
            [
                *("run", "measure", "runs", "watch", "verify", "figure", "claims", "table"),
                *("report", "compare", "bench", "list"),
            ],
        ),
        ("kpflow ve", ["verify"]),
        ("kpflow run task=m", ["task=memorypro", "task=multitask"]),
        ("kpflow measure weights_", ["weights_key=", "weights_only="]),
        ("kpflow run model=v", ["model=vanilla_rnn"]),
        ("kpflow run seed=1 model.g", ["model.gain="]),
        ("kpflow verify model.un", ["model.units="]),
        ("kpflow runs st", ["status="]),
        ("kpflow watch x e", ["every="]),
        ("kpflow runs x --", ["--help", "--open", "--remove", "--yes", "--csv"]),
        ("kpflow list ", ["--help", "--config-dir"]),
        ("kpflow table x co", ["columns="]),
        ("kpflow compare x s", ["step="]),
        ("kpflow bench p", ["probes="]),
        ("kpflow claims -", ["--help"]),
        ("kpflow figure 4", ["4", "4b"]),
        ("kpflow figure 4 profile=q", ["profile=quick"]),
        ("kpflow figure 4 --", ["--help", "--list", "--estimate", "--from"]),
    ],
)
def test_tab_completion(line: str, offered: list[str], tmp_path: Path) -> None:
    assert _completions(line, tmp_path) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "offered"), [("kpflow ver", "verify"), ("kpflow run task=fl", "task=flipflop")]
)
def test_bash_completes(typed: str, offered: str, tmp_path: Path) -> None:
    """What bash itself makes of it, by the function that is installed for the word ``kpflow``."""
    words = typed.split(" ")
    script = f"""
        eval "$(kpflow -sc install=bash)"
        COMP_LINE='{typed}' COMP_POINT={len(typed)} COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}
        $(complete -p kpflow | sed 's/.*-F \\([^ ]*\\) .*/\\1/') kpflow
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{KPFLOW.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [offered], done.stderr


def test_tab_completion_installs_for_this_command(tmp_path: Path) -> None:
    installed = kpflow("-sc", "install=bash", cwd=tmp_path)
    assert installed.returncode == 0
    assert installed.stdout.rstrip().endswith("hydra_bash_completion kpflow")


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text("_target_: my_tasks.Constant\nsize: 2\n")
    (tmp_path / "my_tasks.py").write_text(
        "import torch\nfrom kpflow_cli.task import Batch\nclass Constant:\n    def "
        "__init__(self, size): self.input_size = self.output_size = size\n    def "
        "training_batch(self, batch_size, generator):\n        inputs = torch.randn(batch_size, "
        "3, self.input_size, dtype=torch.float64, generator=generator)\n        return "
        "Batch(inputs, inputs.clone())\n    def evaluation_batch(self): return "
        "self.training_batch(4, torch.Generator().manual_seed(1))\n    def accuracy(self, "
        "outputs, targets): return 0.5\n"
    )
    own = [override for override in SMALL if not override.startswith("task.")]
    done = kpflow(
        "run", "--config-dir", "conf", "task=mine", *own, "training.steps=3", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("runs/mine/gru/")
    refused = kpflow(
        "run", "--config-dir", "conf", "task=mine", "+task.colour=red", *own, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("kpflow: no key 'task.colour'; keys there: _target_, size")
    (tmp_path / "conf" / "task" / "mine.yaml").write_text("size: [2\n")
    refused = kpflow("run", "--config-dir", "conf", "task=mine", *own, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
