"""A real Slurm of one node on loopback, its own munged included, for as long as the tests last; all
it writes is in a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Debian keeps daemons where only root looks
SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
CONFIGURATION = """\
ClusterName=kpflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# a requeued job waits for as long as cred_expire
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SlurmdParameters=config_overrides
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
JobRequeue=1
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP
"""


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[Path]:
    """The folder of the cluster's configuration and logs; every command of Slurm's speaks to it."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    if missing:
        pytest.fail(
            f"no {', '.join(missing)} on this machine; tests/slurm/install.sh installs Debian's"
        )
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="kpflow-slurm-") as name,
    ):
        folder = Path(name)
        patch.setenv("PATH", SEARCH)
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        with _daemons(folder):
            yield folder


@contextmanager
def _daemons(folder: Path) -> Iterator[None]:
    # munged refuses a socket that not everybody can reach
    folder.chmod(0o711)
    host = socket.gethostname().partition(".")[0]
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    controller_port, node_port = _free_ports()
    configuration = CONFIGURATION.format(
        host=host,
        folder=folder,
        user=os.getuid(),
        controller_port=controller_port,
        node_port=node_port,
    )
    (folder / "slurm.conf").write_text(configuration)
    munge_files = [
        f"--{each}-file={folder}/{name}"
        for each, name in (("key", "munge.key"), ("pid", "munged.pid"), ("log", "munged.log"))
    ]
    try:
        _start(
            "munged",
            f"--socket={folder}/munge.socket",
            f"--seed-file={folder}/munge.seed",
            *munge_files,
        )
        _start("slurmctld")
        _start("slurmd", "-N", host)
        deadline = time.monotonic() + 60
        while _output("sinfo", "--noheader", "--format=%T") != "idle":
            assert time.monotonic() < deadline, "no idle node:\n" + "".join(
                path.read_text() for path in sorted(folder.glob("*.log"))
            )
            time.sleep(0.1)
        yield
    finally:
        _stop(folder)


def _start(*command: str) -> None:
    """Daemons put themselves into the background."""
    # not captured through pipes, which they would keep open
    with tempfile.TemporaryFile("w+") as output:
        status = subprocess.run(
            command, stdout=output, stderr=output, timeout=60, check=False
        ).returncode
        output.seek(0)
        assert status == 0, f"{command[0]}: {output.read()}"


def _stop(folder: Path) -> None:
    """Jobs first: they would outlive the daemons."""
    if (folder / "slurmctld.pid").exists():
        subprocess.run(
            ["scancel", "--full", "--signal=KILL", f"--user={os.getuid()}"], timeout=60, check=False
        )
        subprocess.run(["scancel", f"--user={os.getuid()}"], timeout=60, check=False)
        deadline = time.monotonic() + 30
        while _output("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)
    for name in ("slurmd", "slurmctld", "munged"):
        try:
            number = int((folder / f"{name}.pid").read_text())
            os.kill(number, signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            continue
        deadline = time.monotonic() + 30
        while _runs(number) and time.monotonic() < deadline:
            time.sleep(0.05)


def _runs(number: int) -> bool:
    """Where nothing takes notice of its end, an ended process stays in /proc, as a zombie."""
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _output(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    ).stdout.strip()


def _free_ports() -> tuple[int, int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        return one.getsockname()[1], other.getsockname()[1]
