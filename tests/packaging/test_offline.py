"""No command reaches for the network: in processes that refuse it, in a namespace without any."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hand_made_runs import put_grid
from small_figures import OVERRIDES
from small_runs import KPFLOW, SMALL

# what Python imports as it starts, in every process: an attempt is written down and refused
GUARD = """
import os, socket, sys

def refuse(event, arguments):
    if not event.startswith("socket."):
        return
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        # those of this machine's own processes have a path
        if arguments[0].family == socket.AF_UNIX:
            return
    elif event not in (
        "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"
    ):
        return
    with open(os.environ["ATTEMPTS"], "a") as attempts:
        attempts.write(f"{event} {arguments[1:]}\\n")
    raise RuntimeError(f"{event}: no network here")

sys.addaudithook(refuse)
"""
# a network namespace of its own, where the machine lets a user make one
NAMESPACE = ("unshare", "--map-root-user", "--net")
EXISTING = ("measure", "model.target=nets.py:Net", "inputs=x.npy", "analysis.probes=4")
EXISTING = (*EXISTING, "analysis.eigenvalues=2", "threads=1")
COMMANDS = {
    "run": ("run", *SMALL, "training.steps=4"),
    "sweep": ("run", "-m", *SMALL, "training.steps=1", "seed=0,1"),
    "measure": EXISTING,
    "figure": ("figure", "7", *OVERRIDES["fig7"], "training.steps=4"),
}


def offline(words: tuple[str | Path, ...], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program that may not reach for the network, nor can where that can be arranged."""
    (cwd / "guard").mkdir(exist_ok=True)
    (cwd / "guard" / "sitecustomize.py").write_text(GUARD)
    isolates = shutil.which(NAMESPACE[0]) is not None and (
        subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    )
    return subprocess.run(
        [*(NAMESPACE if isolates else ()), *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(cwd / "guard"), "ATTEMPTS": str(cwd / "attempts")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reaches_for_the_network(command: str, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("import torch\nNet = lambda: torch.nn.Linear(3, 2)\n")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(4, 5, 3)))
    done = offline((KPFLOW, *COMMANDS[command]), tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "attempts").exists(), (tmp_path / "attempts").read_text()


def test_no_page_reaches_for_the_network(tmp_path: Path) -> None:
    sweep = put_grid(tmp_path / "runs")
    run = next((tmp_path / "runs").glob("*/run.json")).parent
    for words in (("report", run), ("report", sweep), ("compare", sweep), ("runs", "runs")):
        done = offline((KPFLOW, *words), tmp_path)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "attempts").exists(), (tmp_path / "attempts").read_text()


@pytest.mark.parametrize(
    ("attempt", "event"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "socket.getaddrinfo"),
        ("import socket; socket.socket().connect(('127.0.0.1', 9))", "socket.connect"),
        ("import urllib.request as r; r.urlopen('http://127.0.0.1:9/')", "socket.getaddrinfo"),
        # also where the error is passed over, and in processes that it starts
        (
            "import subprocess, sys\n"
            "code = 'import socket; socket.gethostbyname(\"127.0.0.1\")'\n"
            "subprocess.run([sys.executable, '-c', code], stderr=subprocess.DEVNULL)",
            "socket.gethostbyname",
        ),
    ],
)
def test_an_attempt_would_be_noticed(attempt: str, event: str, tmp_path: Path) -> None:
    offline((sys.executable, "-c", attempt), tmp_path)
    assert (tmp_path / "attempts").read_text().startswith(event)
