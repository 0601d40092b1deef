# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import re
import resource
import signal
import socket
from pathlib import Path

import pytest

from pvefi.errors import UsageError
from pvefi.files import create_file, open_file, read_file, replace_file

MIB = 1 << 20


def read(path: Path, less_than: int = 64 * MIB) -> memoryview:
    return read_file(path, "an initial ramdisk", less_than=less_than, way_out="give more")


def test_what_was_read_stays_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    """A mapping of the file itself would kill the process here: SIGBUS."""
    path = tmp_path / "initrd"
    data = os.urandom(3 * MIB + 5)
    path.write_bytes(data)
    view = read(path)
    os.truncate(path, 0)
    assert bytes(view) == data
    assert view.readonly


def test_what_was_read_is_no_part_of_the_heap(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(bytes(48 * MIB))
    before = anonymous_memory()
    view = read(path)
    assert sum(view[::4096]) == 0
    assert anonymous_memory() - before < 8 * MIB


def anonymous_memory() -> int:
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("fifo", "found a pipe"),
        ("directory", "found a directory"),
        ("/dev/zero", "found a device"),
        ("/dev/null", "found a device"),
        ("socket", "found: No such device or address"),
        ("missing", "found: No such file or directory"),
        ("empty", "found an empty file"),
        ("nul\0", "found: embedded null byte"),
    ],
)
def test_what_is_no_file_with_something_in_it_is_refused_at_once(
    tmp_path: Path, kind: str, found: str
) -> None:
    path = tmp_path / kind
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "empty":
            path.touch()
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
    with pytest.raises(UsageError, match=re.escape(f": expected an initial ramdisk, {found}")):
        read(path)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"of less than 64 MiB, found 1048576 MiB \(give more\)"):
        read(path)


def test_a_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(bytes(MIB))
    sendfile = os.sendfile

    def shrinking(target: int, source: int, offset: None, count: int) -> int:
        os.truncate(path, 4096)
        return sendfile(target, source, offset, count)

    monkeypatch.setattr(os, "sendfile", shrinking)
    with pytest.raises(UsageError, match="of 1048576 bytes, found 4096: it is being changed"):
        read(path)


def test_an_opened_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with open_file(path, "an image") as file:
        assert file.read() == b"abc"


def test_a_created_file_holds_only_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"what was there")
    with create_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_device_can_be_written_to() -> None:
    with create_file(Path("/dev/null")) as file:
        file.write(b"new")


def test_a_pipe_is_written_to_only_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads this pipe"):
        create_file(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with create_file(path) as file:
        assert os.get_blocking(file.fileno())
        file.write(b"new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)


def test_a_file_that_is_replaced_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path, link = tmp_path / "document", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    replace_file(link, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
        with pytest.raises(OSError, match="File too large"):
            replace_file(path, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["document", "link"]


def test_a_pipe_gets_what_is_written_to_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace_file(pipe, b"text")
    assert os.read(reader, 16) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_small_limits_are_told_in_small_units(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(540_000))
    with pytest.raises(UsageError, match="of less than 256 KiB, found 527 KiB"):
        read_file(path, "data", less_than=256 << 10, way_out="less")
