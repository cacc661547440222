"""Every configuration composes, is checked and builds; the schema, the folders and the package list
agree.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from small_runs import small_config

from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.groups import describe_choices
from kpflow_cli.config.plugins import PLUGIN_GROUPS, TARGET, keys_of_class
from kpflow_cli.config.schema import GROUPS, RUNTIME_KEYS, Analysis, Run, Training
from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.run.plan import Plan

ROOT = Path(__file__).parents[2]
EVERY_CHOICE = [
    (group, choice) for group, described in describe_choices().items() for choice in described
]
# what a choice cannot do without
NEEDED = {
    "custom": ("model.target=kpflow_cli.models.networks.MLP",),
    "neurogym": ("training.loss=cross_entropy",),
    "arrays": ("task.inputs=trials.npz", "task.evaluation=2"),
}


@pytest.fixture(autouse=True)
def trials_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that NEEDED names."""
    monkeypatch.chdir(tmp_path)
    np.savez("trials.npz", inputs=np.ones((4, 3, 2)), targets=np.ones((4, 3, 1)))


def config_of(group: str, choice: str, *overrides: str) -> DictConfig:
    # what makes a task or a model small is its own, and known to verify
    small = group in ("task", "model")
    return small_config(
        f"{group}={choice}",
        *NEEDED.get(choice, ()),
        *overrides,
        config_name="verify" if small else "config",
    )


@pytest.mark.parametrize(("group", "choice"), EVERY_CHOICE)
def test_every_choice_builds(group: str, choice: str) -> None:
    if choice == "neurogym":
        pytest.importorskip("neurogym", reason="needs neurogym: pip install 'kpflow[neurogym]'")
    config = config_of(group, choice)
    plan = Plan(config)
    outputs, states = plan.model(plan.evaluation.batch.inputs)
    wanted = plan.loss.wanted(plan.evaluation.batch, plan.task.output_size)
    assert outputs.shape == wanted.shape
    if "units" in config.model:
        assert states.shape[-1] == config.model.units
    assert plan.trainer().optimizer.param_groups[0]["lr"] == config.training.learning_rate


def test_verify_configuration_builds() -> None:
    plan = Plan(small_config(config_name="verify"))
    assert plan.model.readout.weight.dtype == plan.evaluation.batch.inputs.dtype == plan.dtype


def test_every_group_has_a_folder() -> None:
    folders = {
        entry.name
        for entry in (ROOT / "configs").iterdir()
        if entry.is_dir() and entry.name != "__pycache__"
    }
    assert folders == {*GROUPS, "figure", "small", "sweep"}


@pytest.mark.parametrize(("group", "choice"), EVERY_CHOICE)
def test_every_key_has_a_meaning_and_a_value(group: str, choice: str) -> None:
    node = config_of(group, choice)[group]
    keys = (
        keys_of_class(group, node[TARGET])
        if group in PLUGIN_GROUPS
        else keys_of({"training": Training, "analysis": Analysis}[group])
    )
    assert {name for name, key in keys.declared.items() if key.meaning} == set(node)


def test_every_key_outside_the_groups_has_a_meaning_and_a_value() -> None:
    documented = {name for name, key in keys_of(Run).declared.items() if key.meaning}
    assert documented == {str(key) for key in small_config() if key not in GROUPS}


def test_identity_leaves_out_paths_and_knows_the_kind_of_device_only() -> None:
    here, there = (
        small_config("run_dir=a", "device=cuda:0"),
        small_config("run_dir=b", "device=cuda:1", "save_interval=9"),
    )
    assert identity(here) == identity(there)
    assert not set(RUNTIME_KEYS) & identity(here).keys()
    assert identity(small_config("threads=2")) != identity(small_config("threads=1"))


def test_equal_values_written_differently_have_one_identity() -> None:
    assert identity(small_config("model.gain=1")) == identity(small_config("model.gain=1.0"))


def test_configuration_is_read_only() -> None:
    with pytest.raises(Exception, match="read-only"):
        small_config().model.gain = 2.0


def test_missing_value_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.gain: no value; it is factor g"):
        small_config("model.gain=???")


def test_package_list_names_every_package() -> None:
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    found = set()
    for top, package in (
        ("kpflow_cli", "kpflow_cli"),
        *((name, f"kpflow_cli.{name}") for name in ("tasks", "figures", "configs")),
    ):
        for init in (ROOT / top).rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(ROOT / top).parts]))
    assert listed == found
