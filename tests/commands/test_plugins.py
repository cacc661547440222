"""A task and a model of one's own are one file and one YAML each; tasks/README.md shows how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_blocks import find_blocks
from small_runs import SMALL, kpflow

OWN = ("--config-dir", "conf", "task=window")
SMALL_ANALYSIS = tuple(each for each in SMALL if not each.startswith(("task.", "model.")))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of tasks/README.md."""
    folder = tmp_path_factory.mktemp("own")
    for block in find_blocks("tasks/README.md"):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    return folder


def test_own_choices_are_listed_with_their_line(own: Path) -> None:
    listed = kpflow("list", "--config-dir", "conf", cwd=own).stdout
    assert re.search(r"^task=\n(  .*\n)*  window +sum the last inputs$", listed, re.MULTILINE)
    assert re.search(r"^  leaky +a leaky recurrent network$", listed, re.MULTILINE)


def test_help_explains_the_keys_of_what_is_chosen_alone(own: Path) -> None:
    shown = kpflow("run", *OWN, "model=leaky", "model.leak=0.25", "--help", cwd=own).stdout
    assert re.search(
        r"^  task\.window +inputs that are summed \(at least 1\) \[3\]$", shown, re.MULTILINE
    )
    leak = r"share of a unit's state that stays \(at least 0, below 1\) \[0\.25\]"
    # filled to 80 columns, so that a meaning may go on in the next line
    assert re.search(rf"^  model\.leak +{leak}".replace(" ", r"\s+"), shown, re.MULTILINE)
    assert re.search(r"^  task .*(\n {5,}.*)*\bwindow\b", shown, re.MULTILINE)
    assert "task.noise" not in shown
    assert "model.bias" not in shown
    assert "generator" not in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("task.window=0",), "task.window=0: impossible; valid: at least 1"),
        (("model=leaky", "model.leak=1"), "model.leak=1: impossible; valid: at least 0, below 1"),
        (
            ("task.time_steps=many",),
            "task.time_steps=many: Value 'many' of type 'str' could not be converted to Integer",
        ),
        (
            ("+task.windo=2",),
            "no key 'task.windo' (did you mean 'window'?); keys there: _target_, time_steps,",
        ),
        (
            ("task.time_steps=???",),
            "task.time_steps: no value; it is time steps of a trial",
        ),
        (("model._target_=window.Window",), "model._target_=window.Window: does not take the keys"),
        (("task._target_=leaky.Leaky",), "task._target_=leaky.Leaky: is no Task; see kpflow_cli"),
        (("task._target_=window.Door",), "task._target_=window.Door: cannot be imported"),
        (("task._target_=3",), "task._target_=3: it names the class of the task, such as my_"),
        (("analysis.measures=[window.miss]",), "analysis.measures=window.miss: cannot be imported"),
        (("analysis.measures=[ntj]",), "analysis.measures=ntj: impossible (did you mean 'ntk'?)"),
    ],
)
def test_mistakes_are_told_in_one_line(overrides: tuple[str, ...], told: str, own: Path) -> None:
    refused = kpflow("run", *OWN, *overrides, "run_dir=refused", cwd=own)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"kpflow: {told}")
    assert refused.stderr.count("\n") == 1
    assert not (own / "refused").exists()


def test_a_default_need_not_be_in_the_file(own: Path) -> None:
    (own / "conf" / "task" / "brief.yaml").write_text("_target_: window.Window\ntime_steps: 4\n")
    brief = ("--config-dir", "conf", "task=brief")
    assert "  task.window " in kpflow("run", *brief, "--help", cwd=own).stdout
    refused = kpflow("run", *brief, "task.window=2", cwd=own)
    assert refused.stderr.endswith("leaves it at its default; +task.window= sets it\n")
    refused = kpflow("run", *brief, "+task.window=0", cwd=own)
    assert refused.stderr == "kpflow: task.window=0: impossible; valid: at least 1\n"
    shown = kpflow("run", *brief, *SMALL_ANALYSIS, "model.units=3", "training.steps=1", cwd=own)
    assert shown.returncode == 0, shown.stderr


def test_a_folder_with_any_name(own: Path) -> None:
    odd = own / "it's, a=folder"
    (odd / "task").mkdir(parents=True)
    (odd / "task" / "odd.yaml").write_text((own / "conf" / "task" / "window.yaml").read_text())
    shown = kpflow("run", "--config-dir", str(odd), "task=odd", "--help", cwd=own)
    assert shown.returncode == 0, shown.stderr
    assert "task.window" in shown.stdout


def test_a_folder_that_is_not_there(own: Path) -> None:
    for command in ("run", "verify", "list"):
        refused = kpflow(command, "--config-dir", "cnof", cwd=own)
        assert refused.returncode == 2
        assert "cnof" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_measure_of_ones_own(own: Path) -> None:
    (own / "norms.py").write_text(
        "from kpflow_cli.estimators.estimate import Estimate\n"
        "from kpflow_cli.measures.rows import Measured, Measurement\n"
        "def measure(subject):\n"
        "    return Measured((Measurement('mine', 'half', 'full', Estimate(0.5)),))\n"
    )
    measured = ("analysis.measures=[ntk,norms.measure]", "training.steps=1", "run_dir=measured")
    done = kpflow("run", *OWN, *SMALL_ANALYSIS, "model.units=3", *measured, cwd=own)
    assert done.returncode == 0, done.stderr
    rows = (own / "measured" / "measurements.csv").read_text().splitlines()
    assert [row for row in rows if ",mine," in row] == [
        f"{step},mine,half,full,0.5,0.0,0" for step in (0, 1)
    ]


@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "subprocess.Popen"])
def test_nothing_is_called_that_does_not_say_that_it_makes_a_task(
    target: str, tmp_path: Path
) -> None:
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(
        f"_target_: {target}\n"
        + {"os.system": "command: touch called\n"}.get(target, "args: touch called\n")
    )
    done = kpflow("run", "--config-dir", "conf", "task=mine", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"kpflow: task._target_={target}: ")
    assert not (tmp_path / "called").exists()


def test_a_function_that_says_it_returns_a_task_is_one(own: Path) -> None:
    (own / "makers.py").write_text(
        "from window import Window\ndef make(time_steps: int) -> Window:\n"
        "    return Window(window=2, time_steps=time_steps)\n"
    )
    (own / "conf" / "task" / "made.yaml").write_text("_target_: makers.make\ntime_steps: 4\n")
    words = ["run", "--config-dir", "conf", "task=made", "training.steps=1", "model.units=3"]
    done = kpflow(*words, *SMALL_ANALYSIS, cwd=own)
    assert done.returncode == 0, done.stderr


def test_what_a_constructor_refuses_is_told_in_its_words(own: Path) -> None:
    (own / "picky.py").write_text(
        "from window import Window\n\n\nclass Picky(Window):\n"
        "    def __init__(self, time_steps: int, window: int = 3) -> None:\n"
        "        if window > time_steps:\n"
        "            raise ValueError(f'window={window} is longer than a trial')\n"
        "        super().__init__(time_steps, window)\n"
    )
    (own / "conf" / "task" / "picky.yaml").write_text(
        "# a window that fits\n_target_: picky.Picky\ntime_steps: 5\nwindow: 9\n"
    )
    found = kpflow("run", "--config-dir", "conf", "task=picky", cwd=own)
    assert found.returncode == 2
    told = "kpflow: task: Picky refuses its keys (window=9 is longer than a trial)"
    assert found.stderr.splitlines() == [told]
