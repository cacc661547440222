"""The command that a page names asks for that very run, whatever its configuration is."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from kpflow_cli.config.grid import compose_one, compose_point
from kpflow_cli.config.measure import check_measure, for_hydra
from kpflow_cli.config.validation import identity
from kpflow_cli.report.configuration import explain

CUSTOM = ("model=custom", "model.target=my.Net")
ASKED: list[tuple[str, ...]] = [
    (),
    ("model=rnn", "training.learning_rate=0.01"),
    ("task=flipflop", "training=adam", "seed=3"),
    ("training=momentum", "training.momentum=0.8"),
    ("analysis=initial", "analysis.measures=[]"),
    ("analysis=ranks", "analysis.records=[outputs]", "analysis.tolerance=null"),
    ("task=student_teacher", "model.gain=1.7"),
    ("task=student_teacher", "model.gain=1.7", "task.input_gain=0.5"),
    ("task=attention", "model=attention", "model.heads=4", "analysis.state=site_inputs"),
    ("model=cnn", "model.kwargs.channels=2"),
    ("model=cnn", "~model.kwargs.kernel_size"),
    ("model=lstm", "dtype=float64", "threads=1", "analysis.tolerance=1e-3"),
    (*CUSTOM, "+model.kwargs.depth=2", "+model.kwargs.name='a, b:{c} = \"d\"'"),
    (*CUSTOM, r"+model.kwargs.name='it\'s'", "+model.kwargs.on='yes'"),
    (*CUSTOM, "+model.kwargs.digits='12'", "+model.kwargs.number=1e-5"),
    (*CUSTOM, r"+model.kwargs.path='a\b\\'", "+model.kwargs.empty=''"),
    (*CUSTOM, "+model.kwargs.list=[1,true,null,'x y',{a:2}]"),
]


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_the_command_asks_for_the_same_run(asked: tuple[str, ...]) -> None:
    found = identity(compose_point(list(asked), "config").values)
    kpflow, run, *words = shlex.split(explain(found).command)
    assert (kpflow, run) == ("kpflow", "run")
    assert identity(compose_point(words, "config").values) == found


def test_changes_are_those_that_were_asked_for() -> None:
    asked = ["model=rnn", "model.gain=1.5", "training=adam", "seed=4", "analysis.probes=8"]
    explained = explain(identity(compose_point(asked, "config").values))
    changed = {key.name: (key.default, key.value) for key in explained.changed}
    assert changed == {"model.gain": (1.0, 1.5), "seed": (0, 4), "analysis.probes": (64, 8)}
    assert explained.choices["model"] == "rnn"
    assert explained.choices["training"] == "adam"
    words = "model=rnn training=adam model.gain=1.5 analysis.probes=8 seed=4"
    assert explained.command == f"kpflow run {words}"


def test_the_default_run_has_changed_nothing() -> None:
    explained = explain(identity(compose_point([], "config").values))
    assert explained.changed == []
    assert explained.command == "kpflow run"


def test_a_class_of_ones_own_has_no_choice_and_no_command() -> None:
    values: dict[str, Any] = identity(compose_point([], "config").values)
    values["task"] = {"_target_": "nobody.has.This", "size": 3}
    explained = explain(values)
    assert explained.choices["task"] is None
    assert explained.command == ""
    assert [key.name for key in explained.changed] == ["task._target_", "task.size"]


def test_a_command_of_kpflow_measure_asks_for_the_same() -> None:
    asked = [
        "model.target=nets.py:Net",
        "model.kwargs.units=64",
        "weights=runs/ckpt_*.pt",
        "inputs=my trials.npy",
        "trained=*.weight_hh*",
        "analysis.probes=8",
    ]
    found = identity(check_measure(compose_one(for_hydra(asked), "measure")))
    found["sha256"] = {"inputs": "00ff"}
    kpflow, measure, *words = shlex.split(explain(found).command)
    assert (kpflow, measure) == ("kpflow", "measure")
    again = identity(check_measure(compose_one(for_hydra(words), "measure")))
    assert again | {"sha256": found["sha256"]} == found


def test_a_recorded_loop_has_no_command() -> None:
    words = ["inputs=x.npy", "model.target=n.Net", "analysis.probes=8"]
    analysis = check_measure(compose_one(words, "measure"))["analysis"]
    config = {"recorded": {"network": "Net", "loss": "mse"}, "analysis": analysis, "seed": 0}
    explained = explain(config)
    assert explained.command == ""
    changed = [key.name for key in explained.changed]
    assert changed == ["recorded.network", "recorded.loss", "analysis.probes"]
