# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_FILE_PROTOCOL — UEFI 2.10 §13.5: files of the host that can be read, and not written.

Where the specification leaves open which status is meant, this answers as edk2's FAT driver does on a
write-protected volume (edk2 FatPkg/EnhancedFatDxe).
"""

from __future__ import annotations

import errno
from contextlib import suppress

from pvefi.efi.boot.memory import allocate_result, release_result
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.host_directory import AboveRootError, HostFile
from pvefi.efi.protocols import file_information
from pvefi.efi.service import UINT64, UINTN, InOut, Out, Pointer, Steps, service
from pvefi.efi.volume import OpenFile, Volume
from pvefi.guest.mailbox import Copy
from pvefi.layout import Guid
from pvefi.memory import Memory
from pvefi.spec.uefi import files, guids
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address

__all__ = ["refused", "use"]

_SEPARATOR = "\\"
_STATUSES = {
    errno.ENOENT: EfiStatus.NOT_FOUND,
    errno.ENOTDIR: EfiStatus.NOT_FOUND,
    errno.ELOOP: EfiStatus.NOT_FOUND,
    errno.ENAMETOOLONG: EfiStatus.INVALID_PARAMETER,
    errno.EACCES: EfiStatus.ACCESS_DENIED,
    errno.EPERM: EfiStatus.ACCESS_DENIED,
    errno.EMFILE: EfiStatus.OUT_OF_RESOURCES,
    errno.ENFILE: EfiStatus.OUT_OF_RESOURCES,
    errno.ENOMEM: EfiStatus.OUT_OF_RESOURCES,
}


def refused(error: OSError) -> EfiError:
    """Return what the guest hears when the host refuses."""
    why = error.strerror or str(error)
    if isinstance(error, AboveRootError):
        return EfiError(EfiStatus.INVALID_PARAMETER, why)
    return EfiError(_STATUSES.get(error.errno or 0, EfiStatus.DEVICE_ERROR), why)


def use(efi: Environment, volume: Volume, file: HostFile) -> Address:
    """Give the guest an interface for `file`, and return its address; EfiError OUT_OF_RESOURCES."""
    gate = efi.gates.address
    interface = files.FileProtocol(
        revision=files.FILE_PROTOCOL_REVISION,
        open=gate(open_file),
        close=gate(close),
        delete=gate(delete),
        read=gate(read),
        write=gate(write),
        get_position=gate(get_position),
        set_position=gate(set_position),
        get_info=gate(get_info),
        set_info=gate(set_info),
        flush=gate(flush),
    )
    try:
        address = allocate_result(efi, interface.pack())
    except EfiError:
        file.close()
        raise
    volume.add(address, file)
    return address


def _volume(efi: Environment) -> Volume:
    assert efi.volume is not None, "there are files only on a volume"
    return efi.volume


def _opened(efi: Environment, this: int) -> OpenFile:
    return _volume(efi).file(this)


@service("EFI_FILE_PROTOCOL.Open", "UEFI 2.10 §13.5.2")
def open_file(
    efi: Environment,
    this: Pointer,
    new_handle: Out[Pointer],
    file_name: str,
    open_mode: files.FILE_MODE,
    attributes: files.FILE_ATTRIBUTE,
) -> None:
    """Open a file or directory, by a path from the directory `this`; from the root after a backslash.

    INVALID_PARAMETER: a name or a mode that is none, attributes that are none for a new file, a path above
    the root. WRITE_PROTECTED: `open_mode` asks for writing. NOT_FOUND: there is no such file. ACCESS_DENIED:
    it is neither file nor directory, a link leads out of what is served, or the host refuses.
    OUT_OF_RESOURCES: too many files are open. DEVICE_ERROR: the host fails.
    """
    volume = _volume(efi)
    start = volume.file(this).file
    if open_mode not in files.OPEN_MODES:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{int(open_mode):#x} is no mode to open a file in")
    creatable = int(files.VALID_ATTRIBUTES & ~files.FileAttribute.READ_ONLY)
    if open_mode & files.FileMode.CREATE and int(attributes) & ~creatable:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{int(attributes):#x} are no attributes of a new file")
    if open_mode != files.READING:
        raise EfiError(EfiStatus.WRITE_PROTECTED, "the volume can only be read")
    if not file_name or "/" in file_name:
        raise EfiError(EfiStatus.INVALID_PARAMETER, f"{file_name!r} is no name of a file")
    above = () if file_name.startswith(_SEPARATOR) else start.path
    try:
        found = volume.open((*above, *file_name.split(_SEPARATOR)))
    except OSError as error:
        raise refused(error) from error
    if file_name.endswith(_SEPARATOR) and not found.is_directory:
        found.close()
        raise EfiError(EfiStatus.NOT_FOUND, "it is no directory")
    new_handle.set(use(efi, volume, found))


@service("EFI_FILE_PROTOCOL.Close", "UEFI 2.10 §13.5.3")
def close(efi: Environment, this: Pointer) -> None:
    """Close a file.

    INVALID_PARAMETER: `this` is no open file.
    """
    _opened(efi, this)
    _volume(efi).drop(this)
    with suppress(EfiError):  # a guest that has freed it itself
        release_result(efi, this)


@service("EFI_FILE_PROTOCOL.Delete", "UEFI 2.10 §13.5.4")
def delete(efi: Environment, this: Pointer) -> EfiStatus:
    """Close a file, which stays.

    INVALID_PARAMETER: `this` is no open file. WARN_DELETE_FAILURE otherwise: the volume can only be read.
    """
    close.body(efi, this)
    return EfiStatus.WARN_DELETE_FAILURE


@service("EFI_FILE_PROTOCOL.Read", "UEFI 2.10 §13.5.5")
def read(efi: Environment, this: Pointer, buffer_size: InOut[UINTN], buffer: Pointer) -> Steps[None]:
    """Read on in a file; of a directory the next entry, or nothing at its end.

    INVALID_PARAMETER: `this` is no open file, or an argument is NULL. DEVICE_ERROR: the position is beyond
    the end of the file, or the host fails. BUFFER_TOO_SMALL: the entry does not fit; `buffer_size` then holds
    its size. OUT_OF_RESOURCES: a directory with more names than are kept. ACCESS_DENIED: the host refuses.
    """
    opened = _opened(efi, this)
    wanted = buffer_size.get()
    try:
        if opened.file.is_directory:
            _read_entry(efi, opened, wanted, buffer_size, buffer)
            return
        left = opened.file.status().st_size - opened.position
        if left < 0:
            raise EfiError(EfiStatus.DEVICE_ERROR, "the position is beyond the end of the file")
        count = min(wanted, left)
        if count and not buffer:
            raise EfiError(EfiStatus.INVALID_PARAMETER, "Buffer is NULL")
        count = efi.memory.take_in(buffer, count, lambda views: opened.file.read_into(views, opened.position))
    except OSError as error:
        raise refused(error) from error
    opened.position += count
    buffer_size.set(count)
    if count and efi.restarted:
        # What is read may be code, where other code ran before the reset: the guest stores it once more.
        yield Copy(buffer, buffer, count)


def _read_entry(
    efi: Environment, opened: OpenFile, given: int, buffer_size: InOut[UINTN], buffer: int
) -> None:
    """Give the next entry of a directory that is a file or a directory, and can be named."""
    names = _volume(efi).names(opened)
    while opened.position < len(names):
        name = names[opened.position]
        try:
            status = opened.file.directory.status((*opened.file.path, name))
        except OSError:  # gone, or a link that leads out, or a pipe
            opened.position += 1
            continue
        if _SEPARATOR in name:
            opened.position += 1
            continue
        _give(efi.memory, file_information.file_info(name, status), given, buffer_size, buffer)
        opened.position += 1
        return
    buffer_size.set(0)


def _give(memory: Memory, data: bytes, given: int, size: InOut[int], buffer: int) -> None:
    size.set(len(data))
    if given < len(data):
        raise EfiError(EfiStatus.BUFFER_TOO_SMALL, f"it takes {len(data)} bytes, given {given}")
    if not buffer:
        raise EfiError(EfiStatus.INVALID_PARAMETER, "Buffer is NULL")
    memory.write(buffer, data)


@service("EFI_FILE_PROTOCOL.Write", "UEFI 2.10 §13.5.6")
def write(efi: Environment, this: Pointer, buffer_size: InOut[UINTN], buffer: Pointer) -> None:
    """Refuse.

    UNSUPPORTED: `this` is a directory. WRITE_PROTECTED otherwise. INVALID_PARAMETER: `this` is no open file,
    or `buffer_size` is NULL.
    """
    if _opened(efi, this).file.is_directory:
        raise EfiError(EfiStatus.UNSUPPORTED, "directories are not written")
    raise EfiError(EfiStatus.WRITE_PROTECTED, "the volume can only be read")


@service("EFI_FILE_PROTOCOL.GetPosition", "UEFI 2.10 §13.5.12")
def get_position(efi: Environment, this: Pointer, position: Out[UINT64]) -> None:
    """Tell where in a file Read() goes on.

    UNSUPPORTED: `this` is a directory. INVALID_PARAMETER: it is no open file, or `position` is NULL.
    """
    opened = _opened(efi, this)
    if opened.file.is_directory:
        raise EfiError(EfiStatus.UNSUPPORTED, "directories have no position")
    position.set(opened.position)


@service("EFI_FILE_PROTOCOL.SetPosition", "UEFI 2.10 §13.5.11")
def set_position(efi: Environment, this: Pointer, position: UINT64) -> None:
    """Say where in a file Read() goes on, all ones for its end; of a directory only that it begins anew.

    UNSUPPORTED: `this` is a directory, and `position` not 0. INVALID_PARAMETER: it is no open file.
    DEVICE_ERROR: the host fails.
    """
    opened = _opened(efi, this)
    if opened.file.is_directory:
        if position:
            raise EfiError(EfiStatus.UNSUPPORTED, "of a directory only the beginning can be read again")
        opened.names = None
    elif position == files.END_OF_FILE:
        try:
            position = opened.file.status().st_size
        except OSError as error:
            raise refused(error) from error
    opened.position = position


@service("EFI_FILE_PROTOCOL.GetInfo", "UEFI 2.10 §13.5.13")
def get_info(
    efi: Environment, this: Pointer, information_type: Guid, buffer_size: InOut[UINTN], buffer: Pointer
) -> None:
    """Tell of a file, or of its volume.

    UNSUPPORTED: `information_type` is not known. BUFFER_TOO_SMALL: it does not fit; `buffer_size` then holds
    its size. INVALID_PARAMETER: `this` is no open file, or an argument is NULL. DEVICE_ERROR: the host fails.
    """
    opened = _opened(efi, this)
    try:
        if information_type == guids.FILE_INFO_ID:
            name = opened.file.path[-1] if opened.file.path else ""
            data = file_information.file_info(name, opened.file.status())
        elif information_type == guids.FILE_SYSTEM_INFO_ID:
            data = file_information.file_system_info(opened.file.directory.size())
        elif information_type == guids.FILE_SYSTEM_VOLUME_LABEL_ID:
            data = file_information.volume_label()
        else:
            raise EfiError(EfiStatus.UNSUPPORTED, f"{guids.guid_name(information_type)} is not told")
    except OSError as error:
        raise refused(error) from error
    _give(efi.memory, data, buffer_size.get(), buffer_size, buffer)


@service("EFI_FILE_PROTOCOL.SetInfo", "UEFI 2.10 §13.5.14")
def set_info(
    efi: Environment, this: Pointer, information_type: Guid, buffer_size: UINTN, buffer: Pointer
) -> None:
    """Refuse.

    WRITE_PROTECTED always. INVALID_PARAMETER: `this` is no open file, or `information_type` is NULL.
    """
    _opened(efi, this)
    raise EfiError(EfiStatus.WRITE_PROTECTED, "the volume can only be read")


@service("EFI_FILE_PROTOCOL.Flush", "UEFI 2.10 §13.5.15")
def flush(efi: Environment, this: Pointer) -> None:
    """Refuse: nothing was written.

    WRITE_PROTECTED always. INVALID_PARAMETER: `this` is no open file.
    """
    _opened(efi, this)
    raise EfiError(EfiStatus.WRITE_PROTECTED, "the volume can only be read")
