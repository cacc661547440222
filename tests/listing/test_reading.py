"""What is found, and what each folder says of its run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from made_runs import make_run
from small_runs import small_config

from kpflow_cli.config.validation import identity
from kpflow_cli.errors import UserError
from kpflow_cli.listing.folders import find_runs
from kpflow_cli.listing.listed_run import read_run
from kpflow_cli.run.folder import open_run_folder
from kpflow_cli.run.layout import LOCK, MANIFEST, STATUS
from kpflow_cli.run.manifest import checksum


def test_folders_are_found_wherever_they_are(tmp_path: Path) -> None:
    there = {
        make_run(),
        make_run("model=rnn"),
        make_run("seed=3", path=Path("runs/mine/points/a=1")),
    }
    (tmp_path / "runs/configs").mkdir()
    (tmp_path / "runs/configs/config.yaml").write_text("somebody: else\n")
    shutil.copytree(make_run(), tmp_path / "runs/.hidden/run")
    assert set(find_runs(Path("runs"))) == there
    assert find_runs(make_run()) == [make_run()]
    # a folder that leads back to where it is, and one that leads elsewhere
    (tmp_path / "runs/round").symlink_to(tmp_path / "runs")
    shutil.copytree(make_run(), tmp_path / "elsewhere/run")
    (tmp_path / "runs/linked").symlink_to(tmp_path / "elsewhere")
    assert len(find_runs(Path("runs"))) == len(there) + 1
    assert Path("runs/linked/run") in find_runs(Path("runs"))


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        find_runs(tmp_path / "nothing")
    (tmp_path / "file.json").write_text("{}")
    with pytest.raises(UserError, match="no sweep file"):
        find_runs(tmp_path / "file.json")


def test_what_a_folder_says() -> None:
    run = read_run(make_run("model=rnn", "model.units=9", status="diverged", step=7))
    assert (run.task, run.model, run.status) == ("memorypro", "rnn", "diverged")
    assert (run.step, run.steps, run.error) == (7, 40, "DivergedError: loss is nan")
    assert (run.hash, run.config["model.units"]) == (run.path.name, 9)
    # a key that came after runs had been made stands there too
    assert run.config["training.loss"] == "mse"
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert run.size == sum(len(path.read_bytes()) for path in files)
    assert run.written == (run.path / STATUS).stat().st_mtime


@pytest.mark.parametrize(
    ("overrides", "place", "names"),
    [
        (["model=gru"], "points/0a1b2c3d4e5f", ("memorypro", "gru")),
        (["model=cnn"], "points/one", ("memorypro", "cnn")),
        (["model=custom", "model.target=my.Net"], "points/one", ("memorypro", "custom")),
        # the name of a choice of one's own tells more than the class that it is of
        (["model=gru"], "memorypro/mygru/{hash}", ("memorypro", "mygru")),
        (["model=gru"], "other/folder/{hash}", ("memorypro", "gru")),
    ],
)
def test_names_of_task_and_model(overrides: list[str], place: str, names: tuple[str, str]) -> None:
    named = read_run(make_run("model=gru")).hash
    changes = [each for each in overrides if each != "model=gru"]
    run = read_run(make_run(*changes, path=Path(place.format(hash=named))))
    assert (run.task, run.model) == names


def test_a_class_of_ones_own_has_its_name(tmp_path: Path) -> None:
    config = identity(small_config())
    config["task"]["_target_"] = "my.tasks.Juggling"
    with open_run_folder(tmp_path / "run", config) as opened:
        opened.write_status({"status": "complete", "config": config, "hash": "0"})
    run = read_run(tmp_path / "run")
    assert (run.task, run.model) == ("Juggling", "gru")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"weights": None, "inputs": "x.npy", "model": {"target": "n.py:Net"}}, ("measure", "Net")),
        ({"weights": "w", "inputs": "x.npy", "model": {"target": None}}, ("measure", "run")),
        ({"recorded": {"network": "LSTM", "targets": None}}, ("loop", "LSTM")),
    ],
)
def test_what_other_commands_made(
    config: dict[str, object], names: tuple[str, str], tmp_path: Path
) -> None:
    whole = {**config, "seed": 0, "device": "cpu"}
    with open_run_folder(tmp_path / "run", whole) as opened:
        opened.write_status({"status": "complete", "config": whole, "step": 0, "steps": 0})
    run = read_run(tmp_path / "run")
    assert (run.task, run.model, run.status) == (*names, "complete")


def test_a_run_that_nobody_works_on_is_interrupted() -> None:
    folder = make_run(status="running", step=7)
    assert read_run(folder).status == "interrupted"
    with FileLock(folder / LOCK):
        assert read_run(folder).status == "running"


def test_a_diverged_run_that_is_tried_again_is_running() -> None:
    folder = make_run(status="diverged")
    assert read_run(folder).status == "diverged"
    with FileLock(folder / LOCK):
        assert read_run(folder).status == "running"


def test_a_run_that_died_young() -> None:
    folder = make_run()
    for name in (STATUS, MANIFEST, "training.csv"):
        (folder / name).unlink()
    run = read_run(folder)
    assert (run.status, run.step, run.steps) == ("interrupted", None, 40)
    assert (run.model, run.hash) == ("gru", folder.name)
    with FileLock(folder / LOCK):
        assert read_run(folder).status == "running"


def test_damage_is_told() -> None:
    folder = make_run()
    content = (folder / STATUS).read_text()
    (folder / STATUS).write_text(content.replace('"step": 40', '"step": 39'))
    run = read_run(folder)
    # what nothing vouches for still tells which run it is
    assert (run.status, run.step, run.hash) == ("damaged", None, folder.name)
    (folder / STATUS).write_text(content)
    assert read_run(folder).status == "complete"
    for emptied in (b"", None):
        (folder / "training.csv").unlink(missing_ok=True)
        if emptied is not None:
            (folder / "training.csv").write_bytes(emptied)
        assert read_run(folder).status == "damaged"


@pytest.mark.parametrize("content", [b"\xff", b"[]", b"{" * 10**5, b'{"config": 3}', b"null"])
def test_whatever_a_status_holds(content: bytes) -> None:
    folder = make_run()
    (folder / STATUS).write_bytes(content)
    assert read_run(folder).status == "damaged"
    # even where its checksum is right
    lines = (folder / MANIFEST).read_text().splitlines()
    kept = [line for line in lines if not line.endswith(STATUS)]
    (folder / MANIFEST).write_text("\n".join([*kept, f"{checksum(content)}  {STATUS}\n"]))
    assert read_run(folder).model == "gru"
    assert read_run(folder).status == "damaged"
