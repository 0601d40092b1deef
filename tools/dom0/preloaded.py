# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in the tests' dom0: a Python that has imported all of pvefi, and becomes the command when asked.

Imports take a Python in an emulated dom0 many seconds, for each run of a command. The agent sends a message
for each over the socket that is descriptor 0: JSON with `id`, `words` and `environment`, and with it the
three descriptors that the command shall have. What comes back is `id` with `pid`, later `id` with `status`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys

MESSAGE_BYTES = 1 << 16


def load() -> None:
    """Import all of pvefi but what needs packages that a dom0 does not have."""
    import pvefi

    for module in pkgutil.walk_packages(pvefi.__path__, "pvefi.", onerror=lambda _: None):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def become(words: list[str], environment: dict[str, str], descriptors: list[int]) -> None:
    """Be the command, in a process of its own."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    # A boot on Xen starts itself again as the worker of a small supervisor: this process is one already.
    from pvefi.supervisor import WORKER_OF, identity_of

    os.environ[WORKER_OF] = identity_of(os.getppid())
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["pvefi", *words]
    from pvefi.__main__ import main

    sys.exit(main())


def serve(control: socket.socket) -> None:
    """Start what is asked for, and tell its end."""
    running: dict[int, tuple[int, int]] = {}
    control.send(b"{}")
    while True:
        for ready in select.select([control.fileno(), *running], [], [])[0]:
            if ready in running:
                pid, number = running.pop(ready)
                os.close(ready)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                control.send(json.dumps({"id": number, "status": status}).encode())
                continue
            message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 3)
            if not message:
                return
            asked = json.loads(message)
            pid = os.fork()
            if not pid:
                control.close()
                for pidfd in running:
                    os.close(pidfd)
                become(asked["words"], asked["environment"], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            running[os.pidfd_open(pid)] = (pid, asked["id"])
            control.send(json.dumps({"id": asked["id"], "pid": pid}).encode())


if __name__ == "__main__":
    connection = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    load()
    serve(connection)
