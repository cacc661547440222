"""Do the tests notice when the numeric core is wrong? Cosmic Ray changes one operator, number or
condition at a time, in a sample of places; each change runs the tests that serve its file.

python tests/mutants.py --count 60 --seed 0
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Queue

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parent.parent
# folders of the numeric core by the folders of the tests that serve them
SERVED = {
    "kpflow_cli/operators": ("operators", "ntk"),
    "kpflow_cli/ntk": ("ntk", "tracing"),
    "kpflow_cli/estimators": ("estimators", "measures"),
    "kpflow_cli/tracing": ("tracing", "ntk", "models"),
    "kpflow_cli/models": ("models", "ntk"),
    "kpflow_cli/measures": ("measures", "models"),
    "tasks": ("tasks",),
}
WANTED = 0.95
# a change may make a loop endless
SECONDS_A_TEST = 100


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, from the root.
        line: where.
        before, after: the source lines that differ, stripped.
        source: of the whole file, changed.
    """

    path: Path
    line: int
    before: str
    after: str
    source: str

    @property
    def tests(self) -> tuple[str, ...]:
        """The folders of those that serve its file."""
        return next(tests for folder, tests in SERVED.items() if self.path.is_relative_to(folder))

    def __str__(self) -> str:
        return f"{self.path}:{self.line}\n          {self.before}\n       -> {self.after}"


@dataclass(frozen=True)
class _Place:
    """Where a file can be changed, and how: operators of Cosmic Ray by the number of the place
    among those that each finds.
    """

    path: Path
    line: int
    column: int
    changes: tuple[tuple[str, int], ...]

    def key(self, seed: int) -> str:
        """Decides which places are sampled; it hangs on the source line alone, so that a change
        elsewhere leaves the sample as it is.
        """
        text = (ROOT / self.path).read_text().splitlines()[self.line - 1].strip()
        return _hash(f"{seed} {self.column} {text}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _find_places(path: Path) -> Iterator[_Place]:
    source = (ROOT / path).read_text()
    nodes, annotated = list(ast_nodes(get_ast(source))), _find_annotations(source)
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in operator_names():
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        starts = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(starts):
            found.setdefault(start, []).append((name, occurrence))
    for (line, column), changes in sorted(found.items()):
        if not any(first <= (line, column) < last for first, last in annotated):
            yield _Place(path, line, column, tuple(changes))


def _find_annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """From where to where annotations go: nothing evaluates them."""
    nodes = [
        annotation
        for node in ast.walk(ast.parse(source))
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.expr)
    ]
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        for node in nodes
    ]


def sample(count: int, seed: int) -> list[Mutant]:
    """So many changes, no two in one place."""
    files = [path for folder in SERVED for path in sorted((ROOT / folder).rglob("*.py"))]
    places = [place for path in files for place in _find_places(path.relative_to(ROOT))]
    places.sort(key=lambda place: place.key(seed))
    mutants = (_mutate(place, seed) for place in places)
    return list(islice((mutant for mutant in mutants if _compiles(mutant.source)), count))


def _compiles(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _mutate(place: _Place, seed: int) -> Mutant:
    name, occurrence = min(place.changes, key=lambda change: _hash(place.key(seed) + change[0]))
    source = (ROOT / place.path).read_text()
    changed = mutate_code(source, get_operator(name)(), occurrence)
    lines = [*difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")][3:]
    before, after = (
        " ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+"
    )
    return Mutant(place.path, place.line, before, after, changed)


def read_equivalents() -> dict[tuple[str, str], str]:
    """Reasons by the lines before and after."""
    named = tomllib.loads((Path(__file__).parent / "equivalent_mutants.toml").read_text())
    return {(each["before"], each["after"]): each["reason"] for each in named["mutant"]}


def copy_source(folder: Path) -> Path:
    """The source in a folder of its own, tasks and figures where the installed package has them."""
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in ("kpflow_cli", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=without_caches)
    for name in ("tasks", "figures", "configs"):
        shutil.copytree(ROOT / name, folder / "kpflow_cli" / name, ignore=without_caches)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def passes(copy: Path, folders: Iterable[str]) -> bool:
    """Whether the tests in some folders pass on a copy. Raises RuntimeError where none can run."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not slurm"]
    options += [f"--timeout={SECONDS_A_TEST}", *(f"tests/{folder}" for folder in folders)]
    environment = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=copy,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode > 2:
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode == 0


def is_caught(mutant: Mutant, copy: Path) -> bool:
    """Whether a test fails on it."""
    inside = copy / ("kpflow_cli" if mutant.path.parts[0] != "kpflow_cli" else "") / mutant.path
    original = inside.read_text()
    inside.write_text(mutant.source)
    try:
        return not passes(copy, mutant.tests)
    finally:
        inside.write_text(original)


def main() -> int:
    """Exit status 1 where less than 95 % of the changes that matter are caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    named, verdicts = read_equivalents(), {"caught": 0, "alive": 0, "equivalent": 0}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as threads:
        copies: Queue[Path] = Queue()
        for index in range(asked.jobs):
            copies.put(copy_source(Path(folder, str(index))))
        if not passes(Path(folder, "0"), dict.fromkeys(sum(SERVED.values(), ()))):
            raise RuntimeError("the tests fail without any change")

        def judge(mutant: Mutant) -> tuple[str, Mutant]:
            if (mutant.before, mutant.after) in named:
                return "equivalent", mutant
            copy = copies.get()
            try:
                return ("caught" if is_caught(mutant, copy) else "alive"), mutant
            finally:
                copies.put(copy)

        for found, mutant in threads.map(judge, sample(asked.count, asked.seed)):
            verdicts[found] += 1
            reason = named.get((mutant.before, mutant.after))
            print(
                f"{found:<10}{mutant}" + (f"\n          ({reason})" if reason else ""), flush=True
            )
    share = verdicts["caught"] / max(verdicts["caught"] + verdicts["alive"], 1)
    print(", ".join(f"{count} {name}" for name, count in verdicts.items()), f"{share:.0%} caught")
    return int(share < WANTED)


if __name__ == "__main__":
    sys.exit(main())
