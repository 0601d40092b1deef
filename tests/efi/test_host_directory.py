# SPDX-License-Identifier: GPL-2.0-or-later
"""A served directory: what paths find in it, that none leads out, and what hosts do meanwhile."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvefi.efi.host_directory import AboveRootError, HostDirectory, HostFile
from pvefi.errors import UsageError


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a folder with some files, in a folder with a secret."""
    (tmp_path / "secret").write_text("secret")
    served = tmp_path / "served"
    (served / "EFI" / "Xen").mkdir(parents=True)
    (served / "EFI" / "Xen" / "xen.cfg").write_text("config")
    (served / "readme").write_text("text")
    return served


@pytest.fixture
def directory(top: Path) -> Iterator[HostDirectory]:
    made = HostDirectory(top)
    yield made
    made.close()


def text(file: HostFile) -> str:
    data = bytearray(64)
    return data[: file.read_into([memoryview(data)], 0)].decode()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "path",
    [
        ("EFI", "Xen", "xen.cfg"),
        ("efi", "XEN", "XEN.CFG"),
        ("", "EFI", ".", "Xen", "", "xen.cfg", ""),
        ("EFI", "..", "EFI", "Xen", "..", "xEN", "xen.cfg"),
        ("readme", "..", "EFI", "Xen", "xen.cfg"),
    ],
)
def test_a_path_finds_its_file_and_tells_its_names_as_the_host_spells_them(
    directory: HostDirectory, path: tuple[str, ...]
) -> None:
    found = directory.open(path)
    assert text(found) == "config"
    assert found.path == ("EFI", "Xen", "xen.cfg")
    assert not found.is_directory


def test_the_empty_path_is_the_directory_itself(directory: HostDirectory) -> None:
    assert directory.open(()).is_directory
    assert directory.open(()).names(10) == ("EFI", "readme")


def test_a_name_as_it_is_spelled_goes_before_those_that_differ_in_case(
    directory: HostDirectory, top: Path
) -> None:
    for name in ("Both", "both", "BOTH"):
        (top / name).write_text(name)
    assert [text(directory.open((name,))) for name in ("both", "BOTH", "Both", "bOTH")] == [
        "both",
        "BOTH",
        "Both",
        "BOTH",
    ]


@pytest.mark.parametrize(
    "path",
    [("none",), ("none", "readme"), ("readme", "more"), ("a/b",), ("EFI/Xen",), ("x\0y",), ("\ud800",)],
)
def test_a_path_that_finds_nothing_says_so(directory: HostDirectory, path: tuple[str, ...]) -> None:
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        directory.open(path)


@pytest.mark.parametrize("path", [("..",), ("EFI", "..", ".."), ("..", "secret"), ("..", "served", "readme")])
def test_no_path_leads_above_the_directory(directory: HostDirectory, path: tuple[str, ...]) -> None:
    with pytest.raises(AboveRootError):
        directory.open(path)


@pytest.mark.parametrize(
    "target", ["../secret", "/etc/passwd", "EFI/../../secret", "..", "/proc/self/root/etc/passwd"]
)
def test_a_link_that_leads_out_is_refused(directory: HostDirectory, top: Path, target: str) -> None:
    (top / "link").symlink_to(target)
    (top / "EFI" / "Xen" / "deep").symlink_to(f"../../{target}" if target[0] != "/" else target)
    for path in (("link",), ("EFI", "Xen", "deep"), ("link", "x")):
        with pytest.raises(PermissionError, match="leads out"):
            directory.open(path)


def test_a_link_within_the_directory_is_followed(directory: HostDirectory, top: Path) -> None:
    (top / "EFI" / "here").symlink_to("Xen/../Xen")
    (top / "config").symlink_to("EFI/here/xen.cfg")
    found = directory.open(("CONFIG",))
    assert text(found) == "config"
    assert found.path == ("EFI", "Xen", "xen.cfg")


def test_a_path_that_would_search_directories_without_end_is_given_up(
    directory: HostDirectory, top: Path
) -> None:
    (top / "MixedCase").mkdir()
    directory.open(["mixedcase", ".."] * 64).close()
    directory.open(["MixedCase", ".."] * 1000).close()
    with pytest.raises(OSError, match="more than 64 names"):
        directory.open(["mixedcase", ".."] * 65)


def test_links_that_go_in_circles_are_given_up(directory: HostDirectory, top: Path) -> None:
    (top / "one").symlink_to("two")
    (top / "two").symlink_to("one")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        directory.open(("one",))


def test_what_is_neither_file_nor_directory_is_refused_without_waiting(
    directory: HostDirectory, top: Path
) -> None:
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(top / "socket"))
        for name, kind in (("fifo", "pipe"), ("socket", "socket")):
            with pytest.raises(PermissionError, match=kind):
                directory.open((name,))


def test_a_file_that_shrinks_or_goes_is_read_as_far_as_it_is_there(
    directory: HostDirectory, top: Path
) -> None:
    found = directory.open(("readme",))
    os.truncate(top / "readme", 2)
    assert text(found) == "te"
    (top / "readme").unlink()
    assert text(found) == "te"
    with pytest.raises(FileNotFoundError):
        directory.open(("readme",))


def test_a_file_is_read_into_any_number_of_pieces(directory: HostDirectory, top: Path) -> None:
    data = bytes(range(256)) * 20
    (top / "big").write_bytes(data)
    found = directory.open(("big",))
    pieces = [bytearray(2) for _ in range(2500)]
    assert found.read_into([memoryview(piece) for piece in pieces], 100) == 5000
    assert b"".join(pieces) == data[100:5100]
    assert found.read_into([memoryview(bytearray(64))], 5100) == 20
    assert found.read_into([memoryview(bytearray(64))], 1 << 40) == 0


def test_what_the_host_cannot_read_into_directly_is_copied(
    directory: HostDirectory, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    data = os.urandom(3 << 20)
    (top / "big").write_bytes(data)
    found = directory.open(("big",))
    monkeypatch.setattr(os, "preadv", refuse)
    buffer = bytearray(4 << 20)
    view = memoryview(buffer)
    assert found.read_into([view[:5000], view[5000:]], 1) == len(data) - 1
    assert buffer[: len(data) - 1] == data[1:]


def test_names_of_any_bytes_are_listed_and_found_again(directory: HostDirectory, top: Path) -> None:
    name = b"\xff\xfe caf\xc3\xa9 \xf0\x9f\x98\x80"
    (Path(os.fsdecode(os.fsencode(top) + b"/" + name))).write_text("found")
    (listed,) = (found for found in directory.open(()).names(10) if "caf" in found)
    assert text(directory.open((listed,))) == "found"


def test_a_directory_with_more_names_than_wanted_is_refused(directory: HostDirectory, top: Path) -> None:
    for number in range(5):
        (top / str(number)).touch()
    assert len(directory.open(()).names(7)) == 7
    with pytest.raises(OSError, match="more than 6 names"):
        directory.open(()).names(6)


def test_who_swaps_a_folder_for_a_link_while_paths_are_followed_gains_nothing(
    directory: HostDirectory, top: Path
) -> None:
    (top / "real").mkdir()
    (top / "real" / "secret").write_text("harmless")
    (top / "swapped").symlink_to("real")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in ("..", "real"):
                (top / "next").symlink_to(target)
                (top / "next").rename(top / "swapped")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        seen: set[str] = set()
        for _ in range(2000):
            try:
                found = directory.open(("swapped", "secret"))
            except (PermissionError, FileNotFoundError):
                continue
            seen.add(text(found))
            found.close()
    finally:
        stop.set()
        swapping.join()
    assert "secret" not in seen
    assert "harmless" in seen


def test_nothing_stays_open(top: Path) -> None:
    before = descriptors()
    directory = HostDirectory(top)
    for name in ("", "EFI", "readme"):
        directory.open((name,))
    wrong: tuple[tuple[str, ...], ...] = (("none",), ("..",), ("readme", "x"), ("EFI", "none"))
    for path in wrong:
        with pytest.raises((AboveRootError, FileNotFoundError, NotADirectoryError)):
            directory.open(path)
    directory.close()
    directory.close()
    assert descriptors() == before


@pytest.mark.parametrize("name", ["none", "readme", "fifo", "a\0b"])
def test_only_a_directory_can_be_served(top: Path, name: str) -> None:
    os.mkfifo(top / "fifo")
    with pytest.raises(UsageError, match="expected a directory to serve, found"):
        HostDirectory(top / name)
