"""The run folder: what it refuses, that it locks, that a file is whole or not there."""

from __future__ import annotations

import fcntl
import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from warm_processes import warm_pool

from kpflow_cli.errors import DamagedFileError, FailedRunError, UserError
from kpflow_cli.run.checkpoints import Checkpoint, pack_checkpoint, unpack_checkpoint
from kpflow_cli.run.folder import open_run_folder
from kpflow_cli.run.identity import identity_hash, same_values
from kpflow_cli.run.layout import LOCK
from kpflow_cli.run.reading import in_use, is_complete, read_tables
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
        latest = folder.latest_checkpoint(print)
    assert latest is not None
    assert latest.step == 7
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {
        "step_0.pt",
        "step_4.pt",
        "latest.pt",
    }


def test_new_folder_has_no_checkpoint(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "a" / "b", IDENTITY) as folder:
        assert folder.latest_checkpoint(print) is None
        assert folder.read_status() == {}


def _latest(run_dir: Path) -> tuple[int | None, list[str]]:
    """Step of the checkpoint to continue from, and what is told of others."""
    told: list[str] = []
    with open_run_folder(run_dir, IDENTITY) as folder:
        found = folder.latest_checkpoint(told.append)
    return (None if found is None else found.step), told


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_any_changed_bit_of_a_checkpoint_is_noticed() -> None:
    """Every byte of it, in a bit that the byte's place chooses."""
    written = pack_checkpoint(Checkpoint(4, {"weight": torch.ones(3)}, {}, {}), IDENTITY)
    assert unpack_checkpoint(written, IDENTITY).step == 4
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1 << place % 8
        with pytest.raises(DamagedFileError):
            unpack_checkpoint(bytes(changed), IDENTITY)


@pytest.mark.parametrize("damage", ["half", "empty", "bit", "foreign", "folder"])
def test_a_run_continues_from_the_checkpoint_before_a_damaged_one(
    damage: str, run_dir: Path
) -> None:
    path = run_dir / "checkpoints" / "step_4.pt"
    if damage == "bit":
        _flip(path, 8 * (path.stat().st_size // 2))
    elif damage == "foreign":
        torch.save({"model": {}}, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(path.read_bytes()[: 300 if damage == "half" else 0])
    step, [told] = _latest(run_dir)
    assert step == 0
    assert "step_4.pt: " in told
    assert told.endswith("continuing without it")


@pytest.mark.parametrize(
    "content",
    [
        Checkpoint(4, {}, {}, {"../outside": [{"a": 1}]}),
        Checkpoint(4, {}, {}, {"a/b": []}),
        Checkpoint(4, {}, {}, {"training": [{"step": torch.ones(1)}]}),
        Checkpoint(4, {}, {}, {"training": 3}),
        Checkpoint(10**9, {}, {}, {}),
        Checkpoint(-1, {}, {}, {}),
        Checkpoint("4", {}, {}, {}),
        Checkpoint(4, [], {}, {}),
        Checkpoint(4, {}, None, {}),
    ],
)
def test_a_checkpoint_that_no_run_writes_is_not_used(content: Checkpoint) -> None:
    """Whatever its checksum says: names of tables become names of files."""
    identity = IDENTITY | {"training": {"steps": 40}}
    with pytest.raises(DamagedFileError, match="what no run writes"):
        unpack_checkpoint(pack_checkpoint(content, identity), identity)


def test_checkpoints_keep_numbers_of_numpy_and_keys_that_are_none() -> None:
    state = {"x._extra_state": {"rate": np.float64(0.5), 3: np.arange(4), "big": np.int8(7)}}
    packed = pack_checkpoint(Checkpoint(1, state, {}, {}), IDENTITY | {"fill": math.nan, 1: None})
    found = unpack_checkpoint(packed, IDENTITY | {"fill": math.nan, 1: None})
    extra = found.model["x._extra_state"]
    assert type(extra["rate"]) is np.float64
    assert extra[3].tolist() == [0, 1, 2, 3]
    assert extra["big"] == 7


def test_checkpoints_of_the_first_format_are_read(run_dir: Path) -> None:
    content = {"format": 1, "kpflow": "0.1.0", "config": IDENTITY, "seed": 3, "step": 9}
    torch.save(
        content | {"model": {}, "optimizer": {}, "tables": {}},
        run_dir / "checkpoints" / "step_9.pt",
    )
    assert _latest(run_dir) == (9, [])


def test_checkpoint_of_another_run_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "other", IDENTITY | {"seed": 4}) as folder:
        folder.save_checkpoint(Checkpoint(8, {}, {}, {}), measured=True)
    shutil.copy(tmp_path / "other" / "checkpoints" / "step_8.pt", run_dir / "checkpoints")
    with (
        open_run_folder(run_dir, IDENTITY) as folder,
        pytest.raises(UserError, match="another configuration; seed=4 there, 3 here"),
    ):
        folder.latest_checkpoint(print)


def test_renamed_checkpoint_is_not_used(run_dir: Path) -> None:
    (run_dir / "checkpoints" / "step_4.pt").rename(run_dir / "checkpoints" / "step_5.pt")
    step, [told] = _latest(run_dir)
    assert step == 0
    assert "step_5.pt: holds step 4, not what its name says" in told


def test_a_checkpoint_saved_before_its_step_was_recorded_gives_way(run_dir: Path) -> None:
    with open_run_folder(run_dir, IDENTITY) as folder:
        folder.save_checkpoint(Checkpoint(4, {}, {}, {}, recorded=False), measured=False)
        found = folder.latest_checkpoint(print)
    assert found is not None
    assert found.recorded


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
    (tmp_path / ".config.yaml.1234.partial").write_text("mod")
    with open_run_folder(tmp_path, IDENTITY):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "config.yaml"}


def test_what_a_removal_under_a_run_leaves_is_taken_over(run_dir: Path) -> None:
    """`rm -r` deletes file after file while the run goes on writing."""
    (run_dir / "config.yaml").unlink()
    (run_dir / ".lock").unlink()
    (run_dir / "training.csv").write_text("step\n")
    with open_run_folder(run_dir, IDENTITY):
        assert (run_dir / "config.yaml").exists()


@pytest.mark.parametrize("name", ["summary.txt", "report.html", "run.json"])
def test_what_is_written_of_a_run_is_its_own(name: str, run_dir: Path) -> None:
    """Also where its configuration is lost, as by a start that died or a removal under way."""
    (run_dir / "config.yaml").unlink(missing_ok=True)
    (run_dir / name).write_text("of this run")
    with open_run_folder(run_dir, IDENTITY):
        assert (run_dir / "config.yaml").exists()
        assert (run_dir / name).read_text() == "of this run"


@pytest.mark.parametrize("fate", ["renamed", "removed", "replaced"])
def test_a_folder_that_is_lost_under_a_run_is_left_alone(
    fate: str, run_dir: Path, tmp_path: Path
) -> None:
    with open_run_folder(run_dir, IDENTITY) as folder:
        if fate == "renamed":
            run_dir.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(run_dir)
        if fate == "replaced":
            with open_run_folder(run_dir, IDENTITY | {"seed": 4}):
                pass
        with pytest.raises(FailedRunError, match="removed or renamed"):
            folder.write_tables({"training": [{"step": 0}]})
    assert run_dir.exists() == (fate == "replaced")
    assert not (run_dir / "training.csv").exists()


STATUS = {"status": "complete", "hash": identity_hash(IDENTITY), "tables": ["training"]}


@pytest.fixture
def complete(run_dir: Path) -> Path:
    with open_run_folder(run_dir, IDENTITY) as folder:
        folder.write_tables({"training": [{"step": 0, "loss": 0.5}]})
        folder.write_status(STATUS)
    return run_dir


def test_sha256sum_reads_the_manifest(complete: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=complete, capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()) == {"config.yaml: OK", "run.json: OK", "training.csv: OK"}


def test_a_complete_run_is_one_as_it_was_written(complete: Path) -> None:
    assert is_complete(complete)
    assert is_complete(complete, identity_hash(IDENTITY))
    assert not is_complete(complete, "another")
    assert list(read_tables(complete)) == ["training"]


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "training.csv", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["bit", "half", "empty", "deleted", "swapped"])
def test_no_damaged_file_leaves_a_run_complete(
    name: str, damage: str, complete: Path, tmp_path: Path
) -> None:
    path = complete / name
    if damage == "bit":
        _flip(path, 8 * (path.stat().st_size - 3) + 2)
    elif damage == "swapped":
        other = IDENTITY | {"seed": 4}
        with open_run_folder(tmp_path / "other", other) as folder:
            folder.write_tables({"training": [{"step": 0, "loss": 0.6}]})
            folder.write_status(STATUS | {"hash": identity_hash(other)})
        shutil.copy(tmp_path / "other" / name, path)
    elif damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "half" else 0])
    assert not is_complete(complete)
    with open_run_folder(complete, IDENTITY) as folder:
        trusted = folder.read_status()
        # the configuration is known: it is written again
        healed = is_complete(complete) if name == "config.yaml" else trusted == {}
        assert healed or folder.damaged_tables(trusted) == ["training"]


def test_a_damaged_table_is_not_read(complete: Path) -> None:
    (complete / "training.csv").write_text("step,loss\n0,0.9\n")
    with pytest.raises(DamagedFileError, match=r"training\.csv: not as it was written"):
        read_tables(complete)


def test_a_table_that_the_run_did_not_write_is_not_read(complete: Path) -> None:
    (complete / "outputs.csv").write_text("step\n0\n")
    assert list(read_tables(complete)) == ["training"]


def test_a_run_of_a_version_without_manifests_is_read(complete: Path) -> None:
    (complete / "SHA256SUMS").unlink()
    (complete / "run.json").write_text(json.dumps(STATUS))
    assert is_complete(complete)
    (complete / "training.csv").unlink()
    assert not is_complete(complete)


def test_what_is_left_of_another_run_is_refused(complete: Path) -> None:
    (complete / "config.yaml").unlink()
    with (
        pytest.raises(UserError, match="what is left of a run of another configuration"),
        open_run_folder(complete, IDENTITY | {"seed": 4}),
    ):
        pass


@pytest.mark.parametrize("obstacle", ["file", "lock_is_folder", "loop", "lock_is_link"])
def test_a_folder_that_cannot_be_used_is_in_nobodys_use(obstacle: str, tmp_path: Path) -> None:
    """Or a sweep would wait for it for ever."""
    path = tmp_path / "run"
    if obstacle == "file":
        path.touch()
    elif obstacle == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()
        lock = path / ".lock"
        lock.mkdir() if obstacle == "lock_is_folder" else lock.symlink_to(lock)
    assert not in_use(path)
    with pytest.raises(UserError, match=f"run_dir={path}: "), open_run_folder(path, IDENTITY):
        pass


def test_a_folder_that_may_not_be_looked_into_is_in_nobodys_use(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert not in_use(run_dir)


def test_a_folder_that_a_run_works_in_is_in_use(run_dir: Path) -> None:
    assert not in_use(run_dir)
    with open_run_folder(run_dir, IDENTITY):
        assert in_use(run_dir)
    assert not in_use(run_dir)


def test_those_who_ask_whether_a_folder_is_in_use_disturb_nobody(run_dir: Path) -> None:
    lock = run_dir / LOCK
    with lock.open("rb") as other:
        before = lock.stat()
        assert not in_use(run_dir)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert not in_use(run_dir)
    assert lock.stat().st_mtime_ns == before.st_mtime_ns
    with FileLock(lock, blocking=False):
        assert in_use(run_dir)


def test_in_use_is_told_without_fcntl_too(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpflow_cli.run.reading.fcntl", None)
    assert not in_use(run_dir)
    with FileLock(run_dir / LOCK):
        assert in_use(run_dir)


def test_nan_is_the_same_configuration(tmp_path: Path) -> None:
    identity = IDENTITY | {"task": {"fill": math.nan, "rate": 1e-7, "name": "1e3"}}
    for _ in range(2):
        with open_run_folder(tmp_path / "run", identity):
            pass


def test_keys_and_values_keep_their_types() -> None:
    assert not same_values({1: 0.0}, {"1": 0.0})
    assert not same_values({"a": True}, {"a": 1})
    assert not same_values({"a": "1"}, {"a": 1})
    assert same_values({"a": [1, {"b": math.nan}]}, {"a": [1.0, {"b": math.nan}]})
    assert identity_hash({1: 0.0}) != identity_hash({"1": 0.0})
    assert identity_hash({1: 0.0, "a": 1}) == identity_hash({"a": 1, 1: 0.0})


def _write_often(path: Path, content: bytes) -> set[bytes]:
    """What was read back after each write."""
    found = set()
    for _ in range(200):
        write_whole(path, content)
        found.add(path.read_bytes())
    return found


def test_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """As two identical sweeps started at once write one sweep file: nobody fails, every reader sees
    one writer's whole content.
    """
    contents = [bytes([65 + index]) * (1000 * (index + 1)) for index in range(4)]
    with warm_pool(4) as pool:
        found = pool.map(_write_often, [tmp_path / "record.json"] * 4, contents)
        assert set().union(*found) <= set(contents)
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_broken_write_leaves_the_old_file(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run_folder(run_dir, IDENTITY) as folder:
        folder.write("a.csv", b"old")

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        message = (
            r"a\.csv: cannot be written \(No space left on device\); .* same command continues"
        )
        with pytest.raises(FailedRunError, match=message):
            folder.write("a.csv", b"new")
    assert (run_dir / "a.csv").read_bytes() == b"old"
    assert not list(run_dir.glob(".*.partial"))


def test_hash_depends_on_values_not_on_their_order() -> None:
    assert identity_hash(IDENTITY) == identity_hash(dict(reversed(IDENTITY.items())))
    assert identity_hash(IDENTITY) != identity_hash(IDENTITY | {"seed": 4})
