"""The run folder: what it refuses, that it locks, that a file is whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from warm_processes import warm_pool

from kpflow_cli.errors import UserError
from kpflow_cli.run.folder import Checkpoint, open_run_folder
from kpflow_cli.run.identity import identity_hash
from kpflow_cli.run.whole_files import write_whole

IDENTITY = {"model": {"gain": 1.0}, "seed": 3, "device": "cpu"}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    with open_run_folder(path, IDENTITY) as folder:
        for step in (0, 4):
            folder.save_checkpoint(
                Checkpoint(step, {"weight": torch.ones(3)}, {}, {"training": []}), measured=True
            )
    return path


def _contents(path: Path) -> dict[Path, bytes]:
    return {entry: entry.read_bytes() for entry in path.rglob("*") if entry.is_file()}


def test_latest_checkpoint_is_that_of_the_highest_step(run_dir: Path) -> None:
    with open_run_folder(run_dir, IDENTITY) as folder:
        folder.save_checkpoint(Checkpoint(7, {}, {}, {}), measured=False)
        latest = folder.latest_checkpoint()
    assert latest is not None
    assert latest.step == 7
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {
        "step_0.pt",
        "step_4.pt",
        "latest.pt",
    }


def test_new_folder_has_no_checkpoint(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "a" / "b", IDENTITY) as folder:
        assert folder.latest_checkpoint() is None
        assert folder.read_status() == {}


def test_truncated_checkpoint_is_refused(run_dir: Path) -> None:
    path = run_dir / "checkpoints" / "step_4.pt"
    path.write_bytes(path.read_bytes()[:-200])
    before = _contents(run_dir)
    with (
        open_run_folder(run_dir, IDENTITY) as folder,
        pytest.raises(UserError, match=r"step_4\.pt: not a whole kpflow checkpoint"),
    ):
        folder.latest_checkpoint()
    assert _contents(run_dir) == before


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", {"model": {}}])
def test_foreign_checkpoint_is_refused(content: object, run_dir: Path) -> None:
    path = run_dir / "checkpoints" / "step_9.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with (
        open_run_folder(run_dir, IDENTITY) as folder,
        pytest.raises(UserError, match=r"step_9\.pt: not a whole kpflow checkpoint"),
    ):
        folder.latest_checkpoint()


def test_checkpoint_of_another_run_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "other", IDENTITY | {"seed": 4}) as folder:
        folder.save_checkpoint(Checkpoint(8, {}, {}, {}), measured=True)
    shutil.copy(tmp_path / "other" / "checkpoints" / "step_8.pt", run_dir / "checkpoints")
    with (
        open_run_folder(run_dir, IDENTITY) as folder,
        pytest.raises(UserError, match="another configuration; seed=4 there, 3 here"),
    ):
        folder.latest_checkpoint()


def test_renamed_checkpoint_is_refused(run_dir: Path) -> None:
    (run_dir / "checkpoints" / "step_4.pt").rename(run_dir / "checkpoints" / "step_5.pt")
    with (
        open_run_folder(run_dir, IDENTITY) as folder,
        pytest.raises(UserError, match="holds step 4, not what its name says"),
    ):
        folder.latest_checkpoint()


def test_folder_in_use_is_refused(run_dir: Path) -> None:
    with (
        open_run_folder(run_dir, IDENTITY),
        pytest.raises(UserError, match="in use"),
        open_run_folder(run_dir, IDENTITY),
    ):
        pass
    with open_run_folder(run_dir, IDENTITY):
        pass


def test_folder_of_something_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(UserError, match=r"no kpflow run, such as thesis\.tex"),
        open_run_folder(tmp_path, IDENTITY),
    ):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_unreadable_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: [1")
    with (
        pytest.raises(UserError, match=r"config\.yaml cannot be read"),
        open_run_folder(tmp_path, IDENTITY),
    ):
        pass


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with (
        pytest.raises(UserError, match="not a folder"),
        open_run_folder(tmp_path / "run", IDENTITY),
    ):
        pass


def test_folder_that_cannot_be_made_is_refused() -> None:
    with (
        pytest.raises(UserError, match="cannot be written"),
        open_run_folder(Path("/proc/kpflow"), IDENTITY),
    ):
        pass


def test_what_a_killed_start_leaves_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.yaml.partial").write_text("mod")
    with open_run_folder(tmp_path, IDENTITY):
        assert (tmp_path / "config.yaml").exists()


def _write_often(path: Path, content: bytes) -> set[bytes]:
    """What was read back after each write."""
    found = set()
    for _ in range(200):
        write_whole(path, content)
        found.add(path.read_bytes())
    return found


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    """As two identical sweeps started at once write one record: nobody fails, every reader sees one
    writer's whole content.
    """
    contents = [bytes([65 + index]) * (1000 * (index + 1)) for index in range(4)]
    with warm_pool(4) as pool:
        found = pool.map(_write_often, [tmp_path / "record.json"] * 4, contents)
        assert set().union(*found) <= set(contents)
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.csv.partial").write_bytes(b"half of something longer")
    write_whole(tmp_path / "a.csv", b"whole")
    assert (tmp_path / "a.csv").read_bytes() == b"whole"
    assert not (tmp_path / ".a.csv.partial").exists()


def test_broken_write_leaves_the_old_file(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run_folder(run_dir, IDENTITY) as folder:
        folder.write("a.csv", b"old")

        def fail(descriptor: int) -> None:
            raise OSError("disk full")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            folder.write("a.csv", b"new")
    assert (run_dir / "a.csv").read_bytes() == b"old"


def test_hash_depends_on_values_not_on_their_order() -> None:
    assert identity_hash(IDENTITY) == identity_hash(dict(reversed(IDENTITY.items())))
    assert identity_hash(IDENTITY) != identity_hash(IDENTITY | {"seed": 4})
