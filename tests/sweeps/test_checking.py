"""What a run would refuse, a sweep refuses before its first run: of every point, each look once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from small_runs import SMALL, kpflow

from kpflow_cli.config.grid import grid
from kpflow_cli.errors import UserError
from kpflow_cli.sweeps import checking
from kpflow_cli.sweeps.checking import check_points
from kpflow_cli.sweeps.points import SweepPoint

STUDENT = (
    "task=student_teacher",
    "model=vanilla_rnn",
    "task.input_dim=4",
    "task.input_rank=2",
    "task.evaluation_trials=2",
)
SMALL_STUDENT = [each for each in SMALL if not each.startswith("task.")]


def points(*overrides: str) -> list[SweepPoint]:
    student = overrides[:1] == STUDENT[:1]
    return [
        SweepPoint(" ".join(each.swept), each.values, Path(f"runs/{index}"))
        for index, each in enumerate(grid([*(SMALL_STUDENT if student else SMALL), *overrides]))
    ]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((*STUDENT, "task.input_rank=2,5"), r"task\.input_rank=5: impossible;"),
        (("device=cpu,gpu",), "device=gpu: unknown"),
        (("device=cpu,cuda:99",), r"device=cuda\\:99: device=cuda:99: this machine has"),
        (("model.fixed_points=1,8",), r"model\.fixed_points=8: at most"),
        (("analysis.eigenvalues=4,17",), r"analysis\.eigenvalues=17: the"),
        (
            ("analysis.records=[outputs],[attention_map]",),
            r"analysis.records=\[attention_map\]: analysis.records=attention_map: only of",
        ),
        (("model.units=7,10000000",), r"model\.units=10000000: needs"),
    ],
)
def test_a_point_that_a_run_would_refuse_is_told_by_its_label(
    overrides: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UserError, match=f"^{told}"):
        check_points(points(*overrides))


def test_an_extra_that_is_missing_is_found_before_the_first_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(UserError, match=r"^training=shampoo: training.optimizer=shampoo: needs"):
        check_points(points("training=sgd,shampoo"))


def test_one_point_needs_no_label() -> None:
    with pytest.raises(UserError, match=r"^device=gpu: unknown"):
        check_points(points("device=gpu"))


def test_what_differs_in_the_seed_or_in_fractions_is_built_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []
    plan = checking.Plan
    monkeypatch.setattr(checking, "Plan", lambda config: built.append(config) or plan(config))
    check_points(points("seed=range(20)", "model.gain=range(0,1,0.1)", "model.units=2,3"))
    assert [config.model.units for config in built] == [2, 3]


def test_constructors_see_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picky_model.py").write_text(
        "from kpflow_cli.errors import UserError\n"
        "from kpflow_cli.models.gru import GRU\n"
        "class Picky(GRU):\n"
        "    def __init__(self, *, gain: float, **others):\n"
        "        if gain > 1:\n"
        "            raise UserError('too much')\n"
        "        super().__init__(gain=gain, **others)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"model\.gain=1\.5: too much$"):
        check_points(points("seed=0,1", "model._target_=picky_model.Picky", "model.gain=0.5,1,1.5"))


def test_nothing_is_written_where_a_point_is_refused(tmp_path: Path) -> None:
    refused = kpflow("run", "-m", *SMALL, "model.fixed_points=0,8", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("kpflow: model.fixed_points=8: at most")
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_points_that_are_complete_are_not_checked(tmp_path: Path) -> None:
    sweep = ("run", "-m", *SMALL, "training.steps=0", "model.gain=0.5,1", "analysis.measures=[v]")
    assert kpflow(*sweep, cwd=tmp_path).returncode == 0
    again = kpflow(*sweep, cwd=tmp_path)
    assert again.returncode == 0
    assert "2 of 2 runs are complete" in again.stdout
    assert again.stderr == ""
