# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a served directory as a guest sees them: as specified, and as edk2's FAT driver does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.host_directory import HostDirectory
from pvefi.efi.protocols import file, file_information, simple_file_system
from pvefi.efi.volume import Volume
from pvefi.errors import GuestFault
from pvefi.guest.mailbox import Copy
from pvefi.layout import Guid
from pvefi.memory import VirtualMemory
from pvefi.spec.uefi import files, guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.boot.guest import SIZE, FakeGuest, value_of

NO_ATTRIBUTES = files.FileAttribute(0)
ALL_ONES = (1 << 64) - 1


@dataclass
class Files:
    """A guest with a volume, and the operations on it in short."""

    guest: FakeGuest
    top: Path

    @property
    def volume(self) -> Volume:
        assert self.guest.efi.volume is not None
        return self.guest.efi.volume

    def root(self) -> Address:
        handle = self.guest.pointer()
        simple_file_system.open_volume(self.guest.efi, Address(0), handle)
        return Address(value_of(handle))

    def open(
        self, name: str, this: int = 0, mode: files.FileMode = files.READING, attributes: int = 0
    ) -> Address:
        handle = self.guest.pointer()
        given = files.FileAttribute(attributes)
        file.open_file(self.guest.efi, Address(this or self.root()), handle, name, mode, given)
        return Address(value_of(handle))

    def read(self, this: int, size: int, buffer: int | None = None) -> tuple[bytes, int]:
        """Return what stands in the buffer afterwards, and what the size has become."""
        given = self.guest.number(size)
        place = self.guest.put(bytes(min(size, 4096))) if buffer is None else Address(buffer)
        self.guest.run(file.read(self.guest.efi, Address(this), given, place))
        got = value_of(given)
        return self.guest.memory.read(place, got), got

    def info(self, this: int, guid: Guid = guids.FILE_INFO_ID, size: int = 4096) -> bytes:
        given = self.guest.number(size)
        buffer = self.guest.put(bytes(size))
        file.get_info(self.guest.efi, Address(this), guid, given, buffer)
        return self.guest.memory.read(buffer, value_of(given))

    def position(self, this: int) -> int:
        found = self.guest.number()
        file.get_position(self.guest.efi, Address(this), found)
        return value_of(found)

    def names(self, this: int) -> list[str]:
        found = []
        while data := self.read(this, 1024)[0]:
            found.append(name_of(data))
        return found


def name_of(data: bytes) -> str:
    return data[files.FileInfo.SIZE :].decode("utf-16-le", "surrogatepass").removesuffix("\0")


def refuses(status: EfiStatus) -> pytest.RaisesExc[EfiError]:
    return pytest.raises(EfiError, match=f"^{status.efi_name}\\b")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Files]:
    """Return a guest whose volume has a few files."""
    (tmp_path / "EFI" / "Xen").mkdir(parents=True)
    (tmp_path / "EFI" / "Xen" / "xen.cfg").write_bytes(b"0123456789")
    (tmp_path / "empty").touch()
    directory = HostDirectory(tmp_path)
    guest = FakeGuest(directory=directory)
    simple_file_system.install(guest.efi, guest.efi.handles.install(0, guids.DEVICE_PATH_PROTOCOL, 0))
    yield Files(guest, tmp_path)
    directory.close()


@pytest.mark.parametrize(
    "name",
    [
        "EFI\\Xen\\xen.cfg",
        "\\efi\\XEN\\XEN.CFG",
        ".\\EFI\\.\\Xen\\..\\xen\\xen.cfg",
        "\\\\EFI\\\\Xen\\xen.cfg",
        "empty\\..\\EFI\\Xen\\xen.cfg",
    ],
)
def test_a_file_is_opened_by_its_path_and_read(volume: Files, name: str) -> None:
    assert volume.read(volume.open(name), 100) == (b"0123456789", 10)


def test_a_path_begins_at_the_directory_or_at_the_root(volume: Files) -> None:
    folder = volume.open("EFI\\Xen\\")
    assert volume.read(volume.open("xen.cfg", folder), 3)[0] == b"012"
    assert volume.read(volume.open("\\EFI\\Xen\\xen.cfg", folder), 3)[0] == b"012"
    assert volume.names(volume.open("..\\..", folder)) == ["EFI", "empty"]
    beside = volume.open("xen.cfg", folder)
    assert volume.read(volume.open("..\\xen.cfg", beside), 3)[0] == b"012"
    assert volume.read(volume.open(".", beside), 3)[0] == b"012"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("none", EfiStatus.NOT_FOUND),
        ("EFI\\none\\xen.cfg", EfiStatus.NOT_FOUND),
        ("empty\\more", EfiStatus.NOT_FOUND),
        ("empty\\", EfiStatus.NOT_FOUND),
        ("", EfiStatus.INVALID_PARAMETER),
        ("..", EfiStatus.INVALID_PARAMETER),
        ("EFI\\..\\..\\x", EfiStatus.INVALID_PARAMETER),
        ("EFI/Xen", EfiStatus.INVALID_PARAMETER),
        ("\ud800\udfff\ud800", EfiStatus.NOT_FOUND),
        ("x" * 300, EfiStatus.INVALID_PARAMETER),
        ("a\\" * 5000, EfiStatus.NOT_FOUND),
        ("out", EfiStatus.ACCESS_DENIED),
        ("pipe", EfiStatus.ACCESS_DENIED),
    ],
)
def test_what_cannot_be_opened_is_refused_by_its_status(volume: Files, name: str, status: EfiStatus) -> None:
    (volume.top / "out").symlink_to("/etc/passwd")
    os.mkfifo(volume.top / "pipe")
    root = volume.root()
    with refuses(status):
        volume.open(name, root)


@pytest.mark.parametrize(
    ("mode", "attributes", "status"),
    [
        (files.WRITING, 0, EfiStatus.WRITE_PROTECTED),
        (files.CREATING, 0, EfiStatus.WRITE_PROTECTED),
        (files.CREATING, files.FileAttribute.DIRECTORY, EfiStatus.WRITE_PROTECTED),
        (files.CREATING, files.FileAttribute.READ_ONLY, EfiStatus.INVALID_PARAMETER),
        (files.CREATING, 0x40, EfiStatus.INVALID_PARAMETER),
        (files.FileMode(0), 0, EfiStatus.INVALID_PARAMETER),
        (files.FileMode.WRITE, 0, EfiStatus.INVALID_PARAMETER),
        (files.READING | files.FileMode.CREATE, 0, EfiStatus.INVALID_PARAMETER),
        (files.FileMode(5), 0, EfiStatus.INVALID_PARAMETER),
    ],
)
def test_files_are_opened_for_reading_alone(
    volume: Files, mode: files.FileMode, attributes: int, status: EfiStatus
) -> None:
    for name in ("empty", "new"):
        with refuses(status):
            volume.open(name, mode=mode, attributes=attributes)
    assert not (volume.top / "new").exists()


def test_attributes_count_for_new_files_alone(volume: Files) -> None:
    assert volume.open("empty", attributes=ALL_ONES)


def test_reading_goes_on_from_the_position(volume: Files) -> None:
    opened = volume.open("EFI\\Xen\\xen.cfg")
    assert volume.read(opened, 4)[0] == b"0123"
    assert volume.position(opened) == 4
    file.set_position(volume.guest.efi, opened, 8)
    assert volume.read(opened, ALL_ONES, volume.guest.put(bytes(16))) == (b"89", 2)
    assert volume.read(opened, 4) == (b"", 0)
    assert volume.read(opened, 4, 0) == (b"", 0)
    file.set_position(volume.guest.efi, opened, files.END_OF_FILE)
    assert volume.position(opened) == 10


def test_beyond_the_end_nothing_can_be_read(volume: Files) -> None:
    opened = volume.open("EFI\\Xen\\xen.cfg")
    file.set_position(volume.guest.efi, opened, 11)
    assert volume.position(opened) == 11
    with refuses(EfiStatus.DEVICE_ERROR):
        volume.read(opened, 1)
    file.set_position(volume.guest.efi, opened, ALL_ONES - 1)
    with refuses(EfiStatus.DEVICE_ERROR):
        volume.read(opened, 1)


def test_two_handles_of_a_file_have_a_position_each(volume: Files) -> None:
    one, two = volume.open("EFI\\Xen\\xen.cfg"), volume.open("EFI\\Xen\\xen.cfg")
    assert volume.read(one, 5)[0] == b"01234"
    assert volume.read(two, 2)[0] == b"01"


def test_a_file_that_shrinks_while_it_is_open_is_read_to_its_new_end(volume: Files) -> None:
    opened = volume.open("EFI\\Xen\\xen.cfg")
    volume.read(opened, 4)
    os.truncate(volume.top / "EFI" / "Xen" / "xen.cfg", 6)
    assert volume.read(opened, 100)[0] == b"45"
    os.truncate(volume.top / "EFI" / "Xen" / "xen.cfg", 0)
    with refuses(EfiStatus.DEVICE_ERROR):
        volume.read(opened, 100)


def test_a_file_that_was_replaced_or_removed_stays_as_it_was_opened(volume: Files) -> None:
    opened = volume.open("EFI\\Xen\\xen.cfg")
    (volume.top / "new").write_bytes(b"other")
    (volume.top / "new").rename(volume.top / "EFI" / "Xen" / "xen.cfg")
    assert volume.read(opened, 100)[0] == b"0123456789"
    assert volume.read(volume.open("EFI\\Xen\\xen.cfg"), 100)[0] == b"other"


def test_a_buffer_that_is_no_memory_ends_the_run_and_nothing_is_read(volume: Files) -> None:
    opened = volume.open("EFI\\Xen\\xen.cfg")
    for buffer in (SIZE, SIZE - 9, ALL_ONES - 4):
        with pytest.raises(GuestFault):
            volume.read(opened, 10, buffer)
    assert volume.position(opened) == 0
    with refuses(EfiStatus.INVALID_PARAMETER):
        volume.read(opened, 10, 0)


def test_a_file_is_read_through_page_tables_where_pages_are_scattered(volume: Files) -> None:
    memory = volume.guest.memory
    data = os.urandom(3 * 4096)
    (volume.top / "large").write_bytes(data)
    opened = volume.open("large")
    given = volume.guest.number(len(data))
    table = 0x200000
    levels = [table + 0x1000 * level for level in range(4)]
    for here, below in pairwise(levels):
        memory.write(here, (below | 3).to_bytes(8, "little"))
    frames = [0x305000, 0x301000, 0x303000, 0x309000]
    for number, frame in enumerate(frames):
        memory.write(levels[3] + 8 * number, (frame | 3).to_bytes(8, "little"))
    volume.guest.efi.memory = VirtualMemory(memory, table, 0)
    volume.guest.run(file.read(volume.guest.efi, opened, given, Address(0x800)))
    seen = b"".join(memory.read(frame, 4096) for frame in frames)
    assert seen[0x800 : 0x800 + len(data)] == data


def test_after_a_reset_the_guest_stores_what_was_read_once_more(volume: Files) -> None:
    opened = volume.open("EFI\\Xen\\xen.cfg")
    volume.guest.efi.restarted = True
    buffer = volume.guest.put(bytes(16))
    steps = file.read(volume.guest.efi, opened, volume.guest.number(16), buffer)
    assert list(steps) == [Copy(buffer, buffer, 10)]


def test_a_directory_gives_an_entry_at_a_time_and_then_nothing(volume: Files) -> None:
    root = volume.root()
    first, size = volume.read(root, 1024)
    told = files.FileInfo.unpack(first)
    assert (told.size, size) == (len(first), len(first))
    assert told.attribute == files.FileAttribute.DIRECTORY | files.FileAttribute.READ_ONLY
    assert name_of(first) == "EFI"
    second = volume.read(root, 1024)[0]
    assert (name_of(second), files.FileInfo.unpack(second).file_size) == ("empty", 0)
    assert volume.read(root, 1024) == (b"", 0)
    assert volume.read(root, 0, 0) == (b"", 0)


def test_an_entry_that_does_not_fit_tells_its_size_and_comes_again(volume: Files) -> None:
    root = volume.root()
    given = volume.guest.number(0)
    with refuses(EfiStatus.BUFFER_TOO_SMALL):
        volume.guest.run(file.read(volume.guest.efi, root, given, Address(0)))
    assert value_of(given) == files.FileInfo.SIZE + len("EFI\0".encode("utf-16-le"))
    assert name_of(volume.read(root, value_of(given))[0]) == "EFI"


def test_a_directory_can_be_read_again_from_its_beginning_and_from_nowhere_else(volume: Files) -> None:
    root = volume.root()
    assert volume.names(root) == ["EFI", "empty"]
    (volume.top / "third").touch()
    file.set_position(volume.guest.efi, root, 0)
    assert volume.names(root) == ["EFI", "empty", "third"]
    for position in (1, files.END_OF_FILE):
        with refuses(EfiStatus.UNSUPPORTED):
            file.set_position(volume.guest.efi, root, position)
    with refuses(EfiStatus.UNSUPPORTED):
        volume.position(root)


def test_what_cannot_be_opened_is_not_listed(volume: Files) -> None:
    os.mkfifo(volume.top / "pipe")
    (volume.top / "broken").symlink_to("none")
    (volume.top / "out").symlink_to("/etc")
    (volume.top / "in").symlink_to("EFI/Xen/xen.cfg")
    (volume.top / "back\\slash").touch()
    (volume.top / "gone").touch()
    root = volume.root()
    assert name_of(volume.read(root, 1024)[0]) == "EFI"
    (volume.top / "gone").unlink()
    assert volume.names(root) == ["empty", "in"]


def test_names_that_are_no_unicode_are_listed_and_opened(volume: Files) -> None:
    name = os.fsencode(volume.top) + b"/\xff\xe9\x80"
    Path(os.fsdecode(name)).write_bytes(b"found")
    (listed,) = [one for one in volume.names(volume.root()) if one not in ("EFI", "empty")]
    assert volume.read(volume.open(listed), 10)[0] == b"found"


def test_a_directory_of_a_hundred_thousand_files_is_read_and_searched(volume: Files) -> None:
    many = volume.top / "many"
    many.mkdir()
    (many / "first").write_bytes(b"found")
    for number in range(100_000):
        os.link(many / "first", many / f"n{number:06}")
        if number % 50_000 == 49_999:  # a file has no more links than so many
            (many / "first").unlink()
            (many / "first").write_bytes(b"found")
    opened = volume.open("many")
    assert [name_of(volume.read(opened, 1024)[0]) for _ in range(3)] == ["first", "n000000", "n000001"]
    assert len(volume.volume.file(opened).names or ()) == 100_001
    assert volume.read(volume.open("MANY\\N099999"), 5)[0] == b"found"
    shutil.rmtree(many)  # pytest would keep it for a while


def test_a_guest_cannot_have_the_host_keep_names_without_bound(volume: Files) -> None:
    many = volume.top / "many"
    many.mkdir()
    for number in range(3):
        (many / str(number)).touch()
    for _ in range(2):
        opened = volume.volume.file(volume.open("many"))
        opened.names = ("x",) * ((1 << 17) - 1)
    with refuses(EfiStatus.OUT_OF_RESOURCES):
        volume.read(volume.open("many"), 1024)


def test_a_file_tells_its_size_times_and_name(volume: Files) -> None:
    then = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC).timestamp()
    os.utime(volume.top / "EFI" / "Xen" / "xen.cfg", (then, then))
    data = volume.info(volume.open("EFI\\Xen\\XEN.cfg"))
    told = files.FileInfo.unpack(data)
    assert (told.size, told.file_size, told.physical_size) == (len(data), 10, 512)
    assert name_of(data) == "xen.cfg"
    when = told.modification_time
    found = (when.year, when.month, when.day, when.hour, when.minute, when.second, when.time_zone)
    assert found == (2024, 2, 29, 23, 59, 58, 0)
    assert told.attribute == files.FileAttribute.READ_ONLY


@pytest.mark.parametrize("seconds", [-(1 << 33), 1 << 40, 1 << 62, -(1 << 62)])
def test_a_time_that_efi_cannot_tell_is_none(volume: Files, seconds: int) -> None:
    found = (volume.top / "empty").stat()
    told = os.stat_result(found[:10], {"st_mtime_ns": seconds * 10**9, "st_atime_ns": 0})
    info = files.FileInfo.unpack(file_information.file_info("x", told))
    assert info.modification_time.pack() == bytes(16)
    assert info.last_access_time.year == 1970


def test_the_root_has_no_name(volume: Files) -> None:
    assert name_of(volume.info(volume.root())) == ""


def test_the_volume_tells_that_it_can_only_be_read(volume: Files) -> None:
    data = volume.info(volume.open("empty"), guids.FILE_SYSTEM_INFO_ID)
    told = files.FileSystemInfo.unpack(data)
    found = os.statvfs(volume.top)
    assert (told.size, told.read_only, told.free_space) == (len(data), 1, 0)
    assert told.volume_size == found.f_blocks * found.f_frsize
    label = data[files.FileSystemInfo.SIZE :]
    assert label.decode("utf-16-le") == "PVEFI\0"
    assert volume.info(volume.root(), guids.FILE_SYSTEM_VOLUME_LABEL_ID) == label


@pytest.mark.parametrize(
    "guid", [guids.FILE_INFO_ID, guids.FILE_SYSTEM_INFO_ID, guids.FILE_SYSTEM_VOLUME_LABEL_ID]
)
def test_information_that_does_not_fit_tells_its_size(volume: Files, guid: Guid) -> None:
    opened = volume.open("empty")
    whole = volume.info(opened, guid)
    given = volume.guest.number(len(whole) - 1)
    with refuses(EfiStatus.BUFFER_TOO_SMALL):
        file.get_info(volume.guest.efi, opened, guid, given, volume.guest.put(bytes(200)))
    assert value_of(given) == len(whole)
    with refuses(EfiStatus.INVALID_PARAMETER):
        file.get_info(volume.guest.efi, opened, guid, given, Address(0))


def test_other_information_is_not_told(volume: Files) -> None:
    with refuses(EfiStatus.UNSUPPORTED):
        volume.info(volume.root(), guids.BLOCK_IO_PROTOCOL)


def test_nothing_can_be_changed(volume: Files) -> None:
    efi, opened, root = volume.guest.efi, volume.open("EFI\\Xen\\xen.cfg"), volume.root()
    size, buffer = volume.guest.number(4), volume.guest.put(b"abcd")
    with refuses(EfiStatus.WRITE_PROTECTED):
        file.write(efi, opened, size, buffer)
    with refuses(EfiStatus.UNSUPPORTED):
        file.write(efi, root, size, buffer)
    with refuses(EfiStatus.WRITE_PROTECTED):
        file.set_info(efi, opened, guids.FILE_INFO_ID, 4, buffer)
    with refuses(EfiStatus.WRITE_PROTECTED):
        file.flush(efi, opened)
    assert file.delete(efi, opened) is EfiStatus.WARN_DELETE_FAILURE
    with refuses(EfiStatus.INVALID_PARAMETER):
        volume.read(opened, 4)
    assert (volume.top / "EFI" / "Xen" / "xen.cfg").read_bytes() == b"0123456789"


def test_what_is_closed_is_closed(volume: Files) -> None:
    efi, opened = volume.guest.efi, volume.open("empty")
    file.close(efi, opened)
    for call in (
        lambda: file.close(efi, opened),
        lambda: volume.read(opened, 1),
        lambda: volume.position(opened),
        lambda: volume.info(opened),
        lambda: volume.open("empty", opened),
        lambda: file.close(efi, Address(0)),
    ):
        with refuses(EfiStatus.INVALID_PARAMETER):
            call()
    assert not volume.volume.files.keys() & {opened}


def test_a_guest_that_frees_an_interface_itself_can_still_close_the_file(volume: Files) -> None:
    opened = volume.open("empty")
    volume.guest.efi.pools.free(opened)
    file.close(volume.guest.efi, opened)
    assert not volume.volume.directory.open_files - {one.file for one in volume.volume.files.values()}


def test_so_many_files_can_be_open_and_no_more(volume: Files) -> None:
    root = volume.root()
    opened = [volume.open("empty", root) for _ in range(255)]
    with refuses(EfiStatus.OUT_OF_RESOURCES):
        volume.open("empty", root)
    file.close(volume.guest.efi, opened[0])
    assert volume.open("empty", root)


def test_a_reset_closes_what_was_open(volume: Files) -> None:
    for _ in range(10):
        volume.open("empty")
    guest = volume.guest
    guest.reset()
    simple_file_system.install(guest.efi, guest.efi.handles.install(0, guids.DEVICE_PATH_PROTOCOL, 0))
    assert not volume.volume.directory.open_files
    assert volume.names(volume.root()) == ["EFI", "empty"]


def test_without_a_directory_or_in_the_minimal_profile_there_is_no_volume(volume: Files) -> None:
    for guest in (FakeGuest(), FakeGuest("minimal", volume.volume.directory)):
        device = guest.efi.handles.install(0, guids.DEVICE_PATH_PROTOCOL, 0)
        simple_file_system.install(guest.efi, device)
        assert guest.efi.handles.interface(device, guids.SIMPLE_FILE_SYSTEM_PROTOCOL) is None
