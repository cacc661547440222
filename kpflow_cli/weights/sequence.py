"""The checkpoints that somebody's training has left, by their steps."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kpflow_cli.errors import UserError, reason_of
from kpflow_cli.weights.state_dicts import (
    INDEX,
    SUFFIXES,
    fit,
    read_content,
    shard_of,
    state_dict_in,
)

# what a file's name says its step by, the surest first
_STEPS = (
    re.compile(r"(?:step|iter|iteration)[-_=]?(\d+)", re.IGNORECASE),
    re.compile(r"epoch[-_=]?(\d+)", re.IGNORECASE),
    re.compile(r"(?:^|[-_.=])(\d+)$"),
)
# by which a checkpoint says its own step
_STEP_KEYS = ("global_step", "step", "iteration", "iter", "epoch")


@dataclass(frozen=True)
class WeightFile:
    """One checkpoint of a network.

    Attributes:
        step: of training.
        paths: the file, or the shards that it is in.
    """

    step: int
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The file, as the user would name it."""
        return str(self.paths[0])

    def checksum(self) -> str:
        """SHA-256 of its content, in hexadecimal digits."""
        digest = hashlib.sha256()
        try:
            for path in self.paths:
                with path.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UserError(f"weights={self.name}: cannot be read ({reason_of(error)})") from None
        return digest.hexdigest()


@dataclass(frozen=True)
class Reading:
    """How weights are read.

    Attributes:
        key: of the state dict within a file, with dots for one within another; None finds it.
        weights_only: nothing in a file is run.
        strict: a name that the network does not have is refused.
    """

    key: str | None = None
    weights_only: bool = True
    strict: bool = True

    def state_dict(self, file: WeightFile, network: nn.Module) -> dict[str, Any]:
        """The weights of a checkpoint by the names of a network's. Raises UserError where they do
        not fit.
        """
        parts = [read_content(path, weights_only=self.weights_only) for path in file.paths]
        content = parts[0] if len(parts) == 1 else _merge(parts, file.name)
        found = state_dict_in(content, file.name, self.key, network.state_dict())
        return fit(found, network, file.name, strict=self.strict)


def find_weights(written: str, reading: Reading) -> list[WeightFile]:
    """The checkpoints that a path, a glob or a folder names, by ascending steps.

    A step is read off the file's name: the number after ``step``, ``iter`` or ``epoch``, otherwise
    that at its end; of one file without one from what the file says of itself, 0 if it says
    nothing. Raises UserError where there is no file, and where two are of one step.
    """
    paths = _list_paths(written)
    files = _join_shards(paths)
    found: dict[int, WeightFile] = {}
    for group in files:
        step = _step_of(group[0])
        if step is None:
            step = _own_step(group[0], reading) if len(files) == 1 else None
        if step is None:
            raise UserError(f"weights={group[0]}: no step in its name, and it is one of several")
        if step in found:
            raise UserError(
                f"weights={written}: {found[step].name} and {group[0]} are both of step {step}"
            )
        found[step] = WeightFile(step, group)
    return [found[step] for step in sorted(found)]


def _list_paths(written: str) -> list[Path]:
    path = Path(written).expanduser()
    if path.is_dir():
        within = path / "checkpoints" if (path / "checkpoints").is_dir() else path
        found = [each for each in within.iterdir() if each.suffix in SUFFIXES]
        # an index names its shards
        indices = [each for each in within.iterdir() if each.name.endswith(INDEX)]
        if indices:
            sharded = [each for each in found if shard_of(each) is None]
            found = [*sharded, *indices]
        # the last of a run that was broken off, which says nothing new where it was not
        found = [each for each in found if each.name != "latest.pt"] or found
        if not found:
            raise UserError(f"weights={written}: no weights there; *{', *'.join(SUFFIXES)} are")
        return sorted(found)
    found = sorted(Path(each) for each in glob.glob(str(path)))  # noqa: PTH207
    if not found:
        raise UserError(f"weights={written}: no such file")
    for each in found:
        if each.suffix not in SUFFIXES and not each.name.endswith(INDEX):
            raise UserError(
                f"weights={each}: of an unknown kind; valid: *{', *'.join(SUFFIXES)}, *{INDEX}"
            )
    return found


def _join_shards(paths: list[Path]) -> list[tuple[Path, ...]]:
    groups: dict[object, list[Path]] = {}
    for path in paths:
        shard = shard_of(path)
        groups.setdefault(path if shard is None else (path.parent, shard[0]), []).append(path)
    for group in groups.values():
        shard = shard_of(group[0])
        if shard is not None and len(group) != shard[2]:
            raise UserError(f"weights={group[0]}: {len(group)} of its {shard[2]} shards are there")
    return [tuple(sorted(group)) for group in groups.values()]


def _step_of(path: Path) -> int | None:
    shard = shard_of(path)
    stem = Path(shard[0]).stem if shard else path.name.removesuffix(INDEX).rsplit(".", 1)[0]
    named = next((found for pattern in _STEPS if (found := pattern.findall(stem))), None)
    return int(named[-1]) if named else None


def _own_step(path: Path, reading: Reading) -> int:
    content = read_content(path, weights_only=reading.weights_only)
    if isinstance(content, Mapping):
        for key in _STEP_KEYS:
            if isinstance(content.get(key), int):
                return max(0, content[key])
    return 0


def _merge(parts: list[Any], place: str) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            raise UserError(f"weights={place}: a shard that holds a {type(part).__name__}")
        whole |= part
    return whole
