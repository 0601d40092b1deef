# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of a certain kind, as the system makes them; only root can have it make most."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import lacks


def system(*words: str) -> str:
    """Return what a program of the system prints, as root; anybody else's test is skipped.

    Under CI root is meant to be able to do it; elsewhere a container may keep it from that.
    """
    if os.geteuid():
        pytest.skip(f"only root may call {words[0]}")
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        lacks(f"{words[0]} is not installed")
    if done.returncode:
        lacks(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def loop_device(image: Path) -> Iterator[Path]:
    """Give the path of a block device that has the contents of a file, and writes to it."""
    device = system("losetup", "--find", "--show", str(image))
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)


@contextmanager
def only_read(path: Path) -> Iterator[Path]:
    """Give the path of a copy of a file that can be read but not written, by root neither."""
    if os.geteuid():
        path.chmod(0o444)
        yield path
        return
    folder = path.parent / "mounted"
    folder.mkdir()
    system("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    try:
        there = folder / path.name
        there.write_bytes(path.read_bytes())
        system("mount", "-o", "remount,ro", str(folder))
        yield there
    finally:
        subprocess.run(["umount", str(folder)], check=False)
