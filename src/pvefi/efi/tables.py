# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the EFI System Table and what hangs on it, and keeps their checksums right — UEFI 2.10 §4."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pvefi.efi.arena import Arena
from pvefi.efi.errors import EfiError
from pvefi.efi.gates import Gates, unimplemented
from pvefi.efi.service import Service
from pvefi.layout import Guid, Structure
from pvefi.memory import GuestMemory
from pvefi.spec.uefi import tables
from pvefi.spec.uefi.status import EfiStatus

__all__ = ["SystemTables", "TableAddresses"]

VENDOR = "pvefi"
REVISION = 0x00010000  # pvefi's own: major version in the upper half
_CONFIGURATION_TABLES = 64  # slots set aside; real firmware installs about 15


def _checksummed(table: bytes) -> bytes:
    at = tables.TableHeader.offset_of("crc32")
    clear = table[:at] + bytes(4) + table[at + 4 :]
    return table[:at] + zlib.crc32(clear).to_bytes(4, "little") + table[at + 4 :]


@dataclass(frozen=True)
class TableAddresses:
    """Where the tables stand, and what hangs on them; guest physical."""

    boot_services: int
    runtime_services: int
    vendor: int
    configuration: int
    system_table: int


class SystemTables:
    """The three tables in the guest; addresses are guest physical.

    The system table, the runtime services table, the `vendor` string and the array of tables at
    `configuration` go into the arena `runtime`, the boot services table into `boot`: each arena has the
    memory type that its contents need.
    """

    def __init__(
        self,
        memory: GuestMemory,
        boot: Arena,
        runtime: Arena,
        gates: Gates,
        boot_services: Mapping[str, Service[..., Any]],
        runtime_services: Mapping[str, Service[..., Any]],
    ) -> None:
        self._memory = memory
        self._entries: list[tuple[Guid, int]] = []
        self.boot_services = boot.place(
            "EFI_BOOT_SERVICES",
            self._services(
                tables.BOOT_SERVICES_SIGNATURE,
                tables.BOOT_SERVICES_SLOTS,
                "UEFI 2.10 §7",
                boot_services,
                gates.address,
            ),
        )
        self.runtime_services = runtime.place(
            "EFI_RUNTIME_SERVICES",
            self._services(
                tables.RUNTIME_SERVICES_SIGNATURE,
                tables.RUNTIME_SERVICES_SLOTS,
                "UEFI 2.10 §8",
                runtime_services,
                gates.address,
            ),
        )
        self.vendor = runtime.place("firmware vendor", f"{VENDOR}\0".encode("utf-16-le"))
        self.configuration = runtime.reserve(
            "configuration tables", _CONFIGURATION_TABLES * tables.ConfigurationTableEntry.SIZE
        )
        self.system_table = runtime.reserve("EFI_SYSTEM_TABLE", tables.SystemTable.SIZE)
        self._consoles = (0, 0, 0, 0)
        self._boot_services_live = True
        self._convert: Callable[[int], int] = int
        self._write()

    @classmethod
    def taken_over(
        cls, memory: GuestMemory, addresses: TableAddresses, entries: Sequence[tuple[Guid, int]]
    ) -> Self:
        """Return the tables that stand in the guest since before this process, boot services having ended.

        `entries` are the configuration tables. Nothing is written.
        """
        tables = cls.__new__(cls)
        tables._memory = memory
        tables._entries = list(entries)
        tables.boot_services = addresses.boot_services
        tables.runtime_services = addresses.runtime_services
        tables.vendor = addresses.vendor
        tables.configuration = addresses.configuration
        tables.system_table = addresses.system_table
        tables._consoles = (0, 0, 0, 0)
        tables._boot_services_live = False
        tables._convert = int
        return tables

    @property
    def addresses(self) -> TableAddresses:
        """Where the tables stand."""
        return TableAddresses(
            self.boot_services, self.runtime_services, self.vendor, self.configuration, self.system_table
        )

    @staticmethod
    def _services(
        signature: int,
        slots: Sequence[str],
        spec: str,
        services: Mapping[str, Service[..., Any]],
        address: Callable[[Service[..., Any]], int],
    ) -> bytes:
        pointers = b"".join(
            address(services.get(slot) or unimplemented(slot, spec)).to_bytes(8, "little") for slot in slots
        )
        header = tables.TableHeader(
            signature, tables.EFI_2_10_SYSTEM_TABLE_REVISION, tables.TableHeader.SIZE + len(pointers)
        )
        return _checksummed(header.pack() + pointers)

    @property
    def configuration_tables(self) -> tuple[tuple[Guid, int], ...]:
        """The installed configuration tables, in order: GUID and address."""
        return tuple(self._entries)

    @property
    def consoles(self) -> tuple[int, int, int, int]:
        """The console's handles and interfaces, as `use_console` takes them."""
        return self._consoles

    def use_console(self, in_handle: int, con_in: int, out_handle: int, con_out: int) -> None:
        """Enter the console's handles and interfaces; standard error is the same output."""
        self._consoles = (in_handle, con_in, out_handle, con_out)
        self._write()

    def install_configuration_table(self, guid: Guid, address: int) -> None:
        """Add, replace, or with `address` 0 remove a table — UEFI 2.10 §7.5.6.

        EfiError: NOT_FOUND when there is none to remove, OUT_OF_RESOURCES when no slot is left.
        """
        at = next((index for index, (known, _) in enumerate(self._entries) if known == guid), None)
        if address == 0:
            if at is None:
                raise EfiError(EfiStatus.NOT_FOUND, "no such configuration table is installed")
            del self._entries[at]
        elif at is not None:
            self._entries[at] = (guid, address)
        elif len(self._entries) == _CONFIGURATION_TABLES:
            raise EfiError(
                EfiStatus.OUT_OF_RESOURCES, f"all {_CONFIGURATION_TABLES} configuration tables are in use"
            )
        else:
            self._entries.append((guid, address))
        self._write()

    def leave_boot_services(self) -> None:
        """Clear what UEFI 2.10 §7.4.6 wants gone from the system table after ExitBootServices."""
        self._boot_services_live = False
        self._consoles = (0, 0, 0, 0)
        self._write()

    def use_runtime_stub(self, address: int) -> None:
        """Lead every runtime services slot to the guest function at `address`."""
        count = len(tables.RUNTIME_SERVICES_SLOTS)
        header = tables.TableHeader(
            tables.RUNTIME_SERVICES_SIGNATURE,
            tables.EFI_2_10_SYSTEM_TABLE_REVISION,
            tables.TableHeader.SIZE + 8 * count,
        )
        table = header.pack() + address.to_bytes(8, "little") * count
        self._memory.write(self.runtime_services, _checksummed(table))

    def relocate(self, convert: Callable[[int], int]) -> None:
        """Make the pointers that outlive boot services virtual, by `convert` — UEFI 2.10 §8.4.1.

        EfiError of `convert` when one has no virtual address; nothing has changed then.
        """
        table = self._memory.read(
            self.runtime_services, tables.TableHeader.SIZE + 8 * len(tables.RUNTIME_SERVICES_SLOTS)
        )
        head, slots = table[: tables.TableHeader.SIZE], memoryview(table)[tables.TableHeader.SIZE :].cast("Q")
        moved = b"".join(convert(slot).to_bytes(8, "little") for slot in slots)
        for pointer in (self.vendor, self.runtime_services, self.configuration):
            convert(pointer)
        self._memory.write(self.runtime_services, _checksummed(head + moved))
        self._convert = convert
        self._write()

    def _write(self) -> None:
        entries: list[Structure] = [
            tables.ConfigurationTableEntry(guid, address) for guid, address in self._entries
        ]
        self._memory.write(self.configuration, b"".join(entry.pack() for entry in entries))
        in_handle, con_in, out_handle, con_out = self._consoles
        table = tables.SystemTable(
            hdr=tables.TableHeader(
                tables.SYSTEM_TABLE_SIGNATURE,
                tables.EFI_2_10_SYSTEM_TABLE_REVISION,
                tables.SystemTable.SIZE,
            ),
            firmware_vendor=self._convert(self.vendor),
            firmware_revision=REVISION,
            _pad=0,
            console_in_handle=in_handle,
            con_in=con_in,
            console_out_handle=out_handle,
            con_out=con_out,
            standard_error_handle=out_handle,
            std_err=con_out,
            runtime_services=self._convert(self.runtime_services),
            boot_services=self.boot_services if self._boot_services_live else 0,
            number_of_table_entries=len(self._entries),
            configuration_table=self._convert(self.configuration) if self._entries else 0,
        )
        self._memory.write(self.system_table, _checksummed(table.pack()))
