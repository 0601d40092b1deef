# SPDX-License-Identifier: GPL-2.0-or-later
"""A Dask scheduler and workers on loopback, as processes of their own, with a witness of what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client

__all__ = ["Cluster", "cluster_in"]

WITNESS = """
import os, sys
def hear(event, arguments):
    if event == "subprocess.Popen" and "pvefi.evaluate.worker" in map(str, arguments[1] or ()):
        line = "boot"
    elif event == "os.rename" and "pvefi-files" in str(arguments[1]):
        line = "file " + os.path.basename(str(arguments[1]))
    else:
        return
    descriptor = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{{os.getpid()}} {{line}}\\n".encode())
    os.close(descriptor)
if not hasattr(sys, "pvefi_witness"):  # Dask loads this several times
    sys.pvefi_witness = hear
    sys.addaudithook(hear)
"""
"""What a worker loads first: Python itself tells of each process it starts, each file it renames."""
WITHOUT_PVEFI = "import sys\nsys.modules['pvefi'] = None\n"
_START_SECONDS = 60


class Cluster:
    """A scheduler that runs at `address`, and the workers that are started for it."""

    def __init__(self, folder: Path, allowed_failures: int) -> None:
        self._folder = folder
        self._log = folder / "witness.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        told = folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
        variables = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
        self.scheduler = self._start("dask_scheduler", options, variables)
        self.address: str = self._when_there(told)

    def start_workers(self, count: int, *, threads: int = 1, pvefi: bool = True) -> list[int]:
        """Start workers and return their process numbers, without waiting for them."""
        preload = self._folder / f"preload-{len(self._processes)}.py"
        preload.write_text(WITNESS.format(log=str(self._log)) if pvefi else WITHOUT_PVEFI)
        started = []
        for _ in range(count):
            folder = self._folder / f"worker-{len(self._processes)}"
            folder.mkdir()
            options = (
                *(self.address, "--host", "127.0.0.1", "--nthreads", str(threads), "--no-nanny"),
                *("--no-dashboard", "--local-directory", str(folder), "--preload", str(preload)),
            )
            started.append(self._start("dask_worker", options, {}).pid)
        return started

    def kill(self, process: int) -> None:
        """End one of the cluster's processes as the kernel does when memory runs out."""
        for one in self._processes:
            if one.pid == process:
                one.send_signal(signal.SIGKILL)
                one.wait()

    def process_of(self, worker: str) -> int:
        """Return the process number of the worker at an address."""
        with Client(self.address, set_as_default=False) as client:
            return int(client.run(os.getpid, workers=[worker])[worker])

    def witnessed(self) -> list[str]:
        """Return what the workers did since the last call: "PROCESS boot", "PROCESS file HASH"."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return lines

    def let_go_of_files(self) -> None:
        """Remove the files of evaluations that the workers keep, as a worker does to make room."""
        for path in self._folder.glob("worker-*/**/pvefi-files/*"):
            path.unlink(missing_ok=True)

    def end(self) -> None:
        """End all processes, at once: nothing of theirs is to last."""
        for one in self._processes:
            one.kill()
        for one in self._processes:
            one.wait()

    def _start(
        self, program: str, options: Sequence[str], variables: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self._folder / f"log-{len(self._processes)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | variables,
            )
        self._processes.append(process)
        return process

    def _when_there(self, told: Path) -> str:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.scheduler.poll() is None:
            with suppress(OSError, ValueError):
                return str(json.loads(told.read_text())["address"])
            time.sleep(0.05)
        raise AssertionError(f"no scheduler: {(self._folder / 'log-0').read_text()}")


@contextmanager
def cluster_in(folder: Path, *, allowed_failures: int = 3) -> Iterator[Cluster]:
    """Start a scheduler that keeps its files in `folder`, and end it with all its workers."""
    cluster = Cluster(folder, allowed_failures)
    try:
        yield cluster
    finally:
        cluster.end()
