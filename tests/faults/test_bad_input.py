"""Any value for any key, any word for any command, any content of a YAML file of one's own: a run
that works, or one line.
"""

from __future__ import annotations

import math
import os
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from injection import run_forked
from omegaconf import OmegaConf
from scenarios import TINY
from tally import Tally

from kpflow_cli.config.grid import compose_point
from kpflow_cli.run.identity import flatten_keys

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
# as many bad inputs of one's own choice: FAULT_EXAMPLES=10000 make test-faults
EXAMPLES = int(os.environ.get("FAULT_EXAMPLES", "4400"))
# whatever is accepted is small but for the number of steps: what works that long, works
TIMEOUT = 15.0

SMALL = [each for each in TINY if not each.startswith(("task", "model", "analysis.records"))]
SIZES = {
    "memorypro": [each for each in TINY if each.startswith("task.")],
    "student_teacher": [
        "task.time_steps=3",
        "task.input_dim=2",
        "task.input_rank=1",
        "task.evaluation_trials=2",
    ],
    "attention": ["task.time_steps=3", "task.input_dim=2", "task.evaluation_trials=2"],
}
NETWORKS = {
    "gru": ("memorypro", ["model.units=3"]),
    "rnn": ("student_teacher", ["model.units=3"]),
    "vanilla_rnn": ("memorypro", ["model.units=3"]),
    "attention": ("attention", ["model.width=4", "model.mlp_width=3", "model.heads=2"]),
    "lstm": ("memorypro", ["model.units=3"]),
}

NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 3, 7, 300, 10**9, 10**10, 10**12, 10**18, 2**63, 10**30, -(10**30)]
)
FLOATS = st.sampled_from(
    ["nan", ".nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e400", "0.0", "-0.0", "0.5", "1."]
)
_WORDS = """
null ??? true false yes [] {} [1,2] [a] [null] {a:1} {1:2} '' "" ' " \\ = == , a,b 1,2 ,1 (
) ${ ${} ${x} ${seed} ${model} ${hydra:job} ${oc.env:NO} ${oc.env:HOME} $ ~ . .. / /dev/null ~/x
range(0,3) range(0,1e9) choice(1,2) glob(*) sort(1,2) shuffle(1,2) interval(0,1) cuda:99
extend_list(1) tag(a,1) int(3) str(3) float(nan) json_str({}) gru memorypro cpu cuda mps meta
own sgd ntk [ntk,ntk] [ntk,nothing] os.system builtins.print kpflow_cli.cli.main a.b.c float16
orthogonal 0x10 1_000 1e3 010 2020-01-01 12:30 \u00e9 \u6f22\u5b57 \u202e
"""
WORDS = st.sampled_from(_WORDS.split())
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
LONG = st.sampled_from(["a" * 5000, "[" * 300, "{a:" * 100, "9" * 5000, "${" * 50])
VALUES = st.one_of(NUMBERS.map(str), FLOATS, WORDS, TEXTS, LONG)


def _keys(task: str, model: str) -> list[str]:
    words = [*SMALL, f"task={task}", f"model={model}", *SIZES[task], *NETWORKS[model][1]]
    return [*flatten_keys(compose_point(words, "config").values), "task", "model", "training"]


def _settings(share: float) -> settings:
    return settings(
        max_examples=max(1, int(EXAMPLES * share)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def _try(
    words: list[str],
    tally: Tally,
    files: dict[str, bytes] | None = None,
    timeout: float = TIMEOUT,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, content in (files or {}).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        ended = run_forked(words, place, timeout=timeout)
        wrongs = ended.wrongs()
        if wrongs == ["endless"] and _trains(place):
            wrongs = []
        if "None" in {path.name for path in place.rglob("*")}:
            wrongs.append("a folder called None")
        if ended.status == 0:
            wrongs += _nonsense(place)
        outcome = "survived" if ended.status in (0, None) else "refused"
        if (place / "outside").exists():
            wrongs.append("ran a command")
        where = f"{' '.join(words)[-300:]} {ended.errors[-300:] if wrongs else ''}"
        tally.add(outcome, where, wrongs)


def _trains(place: Path) -> bool:
    """Whether a run was under way: many steps take long."""
    return any(place.rglob("training.csv"))


def _nonsense(place: Path) -> list[str]:
    """Numbers of an accepted configuration that are not finite."""
    found = []
    for path in place.rglob("config.yaml"):
        if path.parent.name != "conf":
            values: Any = OmegaConf.to_container(OmegaConf.load(path))
            for key, value in flatten_keys(values).items():
                if isinstance(value, float) and not math.isfinite(value):
                    found.append(f"accepted {key}={value}")
    return found


@pytest.mark.parametrize("model", NETWORKS)
def test_values(model: str) -> None:
    """One or two keys of a run, any values."""
    task, sizes = NETWORKS[model]
    tally = Tally("bad input", f"values of keys, {task} with {model}")
    base = ["run", f"task={task}", f"model={model}", *SIZES[task], *sizes, *SMALL, "run_dir=a"]
    with tempfile.TemporaryDirectory() as folder:
        assert run_forked(base, Path(folder)).status == 0
    pairs = st.tuples(st.sampled_from(_keys(task, model)), VALUES)

    @seed(0)
    @_settings(0.15)
    @given(st.lists(pairs, min_size=1, max_size=2, unique_by=lambda pair: pair[0]))
    def attempt(given_pairs: list[tuple[str, str]]) -> None:
        _try([*base, *(f"{key}={value}" for key, value in given_pairs)], tally)

    attempt()
    tally.close()


def test_words() -> None:
    """Words that are no key=value of a run, or are one with a sign in front."""
    tally = Tally("bad input", "words of run, verify and sweeps")
    keys = _keys("memorypro", "gru")
    signs = st.sampled_from(["", "+", "++", "~", "-", "--", "+x.", "hydra.", "hydra/", "=", " "])
    word = st.one_of(
        st.tuples(signs, st.sampled_from(keys), VALUES).map(lambda it: f"{it[0]}{it[1]}={it[2]}"),
        st.tuples(signs, VALUES).map("".join),
    )
    base = [*TINY[:6], *(each for each in TINY[6:] if "records" not in each), "run_dir=a"]
    starts = st.sampled_from([["run"], ["run", "-m"], ["verify"], ["run", "--cfg", "job"]])

    @seed(0)
    @_settings(0.1)
    @given(starts, st.lists(word, min_size=1, max_size=2))
    def attempt(start: list[str], words: list[str]) -> None:
        rest = base if start[0] == "run" else ["model=gru"]
        _try([*start, *rest, *words], tally)

    attempt()
    tally.close()


COMMANDS = {
    "table": ["output=", "columns=", "--help", "a", "*"],
    "claims": ["--x", "a", "."],
    "measure": ["model.target=", "weights=", "inputs=", "run=", "seed=", "analysis.", "--help"],
    "report": ["output=", "charts=", "figures", "a", ".", "--help"],
    "compare": ["output=", "a", "b", ".", "--help"],
    "runs": ["sort=", "status=", "run=", "--csv", "--open", "--remove", "--yes", "a", ".", "0a1b"],
    "watch": ["every=", "a", ".", "0a1b"],
    "list": ["--config-dir", "-cd", "a"],
    "figure": ["--list", "profile=", "output_dir=", "runs_dir=", "seed=", "99"],
    "bench": ["trials=", "units=", "threads=", "seed=", "run_dir=", "rounds="],
    "": ["-h", "-V", "rum", "--x", "-sc"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str) -> None:
    tally = Tally("bad input", f"words of kpflow {command or 'without a command'}")
    word = st.one_of(
        st.tuples(st.sampled_from(COMMANDS[command]), VALUES).map("".join),
        st.sampled_from(COMMANDS[command]),
        VALUES,
    )
    start = [command] if command else []
    # whatever these accept would take minutes
    refused = ["trials=0"] if command == "bench" else ["--list"] if command == "figure" else []

    @seed(0)
    @_settings(0.02)
    @given(st.lists(word, min_size=0, max_size=3))
    def attempt(words: list[str]) -> None:
        # a list of all figures looks for hundreds of runs
        _try([*start, *words, *refused], tally, timeout=4 * TIMEOUT)

    attempt()
    tally.close()


YAML = st.one_of(
    st.binary(max_size=40),
    TEXTS.map(str.encode),
    st.sampled_from(
        [
            b"- a\n- b\n",
            b"_target_: os.system\ncommand: touch outside\n",
            b"_target_: 3\n",
            b"_target_: kpflow_cli.tasks.memory_pro.MemoryPro\nwhen: 2020-01-01\n",
            b"_target_: kpflow_cli.tasks.memory_pro.MemoryPro\nwhen: !!binary aGVsbG8=\n",
            b"a: !!python/object/apply:os.system ['touch outside']\n",
            b"a: &a [*a]\n",
            b"a: ${a}\n",
            b"defaults: [nothing]\n",
            b"defaults: 3\n",
            b"# @package nothing\na: 1\n",
            b"a: 1\na: 2\n",
            b"\xff\xfe",
            b"{" * 2000,
            b"1: 2\n",
            b"null: 1\n",
            b"?\n",
            b"",
        ]
    ),
)


def test_files() -> None:
    """Files of groups of one's own."""
    tally = Tally("bad input", "YAML files of one's own")
    sound = resources.files("kpflow_cli.configs").joinpath("task", "memorypro.yaml").read_bytes()
    words = ["run", "--config-dir", "conf", *TINY[1:], "task=mine", "run_dir=a"]
    known = Tally("bad input", "a sound file")
    _try(words, known, {"conf/task/mine.yaml": sound})
    assert known.counts["survived"] == 1, known.wrongs

    @seed(0)
    @_settings(0.03)
    @given(st.sampled_from(["task", "model", "training", "analysis"]), YAML)
    def attempt(group: str, content: bytes) -> None:
        words = [each for each in TINY if not each.startswith(group)]
        _try(
            ["run", "--config-dir", "conf", *words, f"{group}=mine", "run_dir=a"],
            tally,
            {f"conf/{group}/mine.yaml": content},
        )

    attempt()
    tally.close()
