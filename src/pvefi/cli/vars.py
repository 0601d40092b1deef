# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi vars`: reads and changes stores of EFI variables, OVMF's files of them."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from pvefi.cli.vars_enroll import command as enroll
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import NO_TIME, Variable
from pvefi.errors import UsageError
from pvefi.files import read_file, replace_file
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import OVMF_4M, OVMF_LAYOUTS, StoreLayout
from pvefi.spec.uefi.variables import DEFINED_VARIABLES, VariableAttribute, defined_attributes

__all__ = ["command"]

_FILE = click.argument("file", type=click.Path(path_type=Path))
_NAME = click.argument("name")
_JSON = click.option("as_json", "--json", is_flag=True, help="Print one JSON document.")
_VENDOR = click.option(
    "--vendor", metavar="GUID", help="The vendor's GUID, where the name alone will not do."
)
_WITH_GUID = re.compile(r"(.+)-([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})", re.DOTALL)
_USUAL = (
    VariableAttribute.NON_VOLATILE | VariableAttribute.BOOTSERVICE_ACCESS | VariableAttribute.RUNTIME_ACCESS
)
_LAYOUTS: Mapping[str, StoreLayout] = {layout.name: layout for layout in OVMF_LAYOUTS}


@click.group(no_args_is_help=False)
def command() -> None:
    """Read and change a store of EFI variables: OVMF_VARS_4M.fd, or what `new` makes.

    A NAME may have the vendor's GUID behind it, as under efivarfs:
    BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c. Nobody else may have the store open meanwhile.
    Signatures are neither checked nor made.
    """


command.add_command(enroll)


@command.command("list")
@_FILE
@_JSON
def list_variables(file: Path, as_json: bool) -> None:
    """Print a line for each variable."""
    from pvefi.report.variables import listing_lines, variables_to_json

    with Edk2Store.open(file, writable=False) as store:
        variables, capacity = list(store), store.capacity()
    if as_json:
        click.echo(json.dumps(variables_to_json(file, variables, capacity), indent=2))
        return
    from rich.console import Console

    from pvefi.report.text import print_lines, width_of

    console = Console()
    print_lines(listing_lines(variables, capacity, width_of(console)), console)


@command.command()
@_FILE
@_NAME
@_VENDOR
@click.option("--raw", is_flag=True, help="Write the data as it is, and nothing else.")
@_JSON
def get(file: Path, name: str, vendor: str | None, raw: bool, as_json: bool) -> None:
    """Print one variable: what it means, and its bytes."""
    if raw and as_json:
        raise UsageError("expected one of --raw and --json, found both")
    with Edk2Store.open(file, writable=False) as store:
        variable, capacity = _found(store, file, name, vendor), store.capacity()
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(variable.data)
        return
    from pvefi.report.variables import variable_lines, variables_to_json

    if as_json:
        click.echo(json.dumps(variables_to_json(file, [variable], capacity), indent=2))
        return
    from rich.console import Console

    from pvefi.report.text import print_lines, width_of

    console = Console()
    print_lines(variable_lines(variable, width_of(console)), console)


@command.command("set")
@_FILE
@_NAME
@_VENDOR
@click.option("--hex", "as_hex", metavar="BYTES", help="The data in hexadecimal.")
@click.option("--text", metavar="TEXT", help="The data as text: UTF-16 with a NUL, as most of EFI has it.")
@click.option("--ascii", "as_ascii", metavar="TEXT", help="The data as text of one byte a character.")
@click.option(
    "--data", "data_file", type=click.Path(path_type=Path), metavar="FILE", help="The data in a file."
)
@click.option(
    "--attributes",
    metavar="NUMBER",
    help="The attributes' bits; those that the variable has, or 7: non-volatile, for boot and runtime.",
)
def set_variable(
    file: Path,
    name: str,
    vendor: str | None,
    as_hex: str | None,
    text: str | None,
    as_ascii: str | None,
    data_file: Path | None,
    attributes: str | None,
) -> None:
    """Create or change one variable."""
    from pvefi.owner_changes import now_or_later, put_all

    data = _data(as_hex, text, as_ascii, data_file)
    with Edk2Store.open(file) as store:
        name, guid = _key(store, name, vendor)
        old = store.get(name, guid)
        if attributes is not None:
            bits = _number(attributes)
        elif old is not None:
            bits = old.attributes
        else:
            bits = defined_attributes(name, guid) or _USUAL
        put_all(store, [Variable(name, guid, VariableAttribute(bits), data, now_or_later(bits, old))])


@command.command()
@_FILE
@_NAME
@_VENDOR
def delete(file: Path, name: str, vendor: str | None) -> None:
    """Remove one variable."""
    from pvefi.owner_changes import remove_one

    with Edk2Store.open(file) as store:
        found = _found(store, file, name, vendor)
        remove_one(store, found)


@command.command("import")
@_FILE
@click.argument("document", type=click.Path(path_type=Path))
def import_document(file: Path, document: Path) -> None:
    """Put the variables of a JSON DOCUMENT into the store, as virt-fw-vars --set-json does; others stay.

    When the store cannot take one of them it takes none.
    """
    from pvefi.owner_changes import put_all
    from pvefi.report.variables import read_export

    variables = read_export(document)
    with Edk2Store.open(file) as store:
        put_all(store, [_with_time(store, one) for one in variables])


def _with_time(store: Edk2Store, variable: Variable) -> Variable:
    """Return a variable of a document with its time, or where it has none, with that of the stored one."""
    old = store.get(variable.name, variable.vendor)
    if old is None or variable.timestamp != NO_TIME:
        return variable
    return replace(variable, timestamp=old.timestamp)


@command.command("export")
@_FILE
@click.argument("document", type=click.Path(path_type=Path), required=False)
def export_document(file: Path, document: Path | None) -> None:
    """Write all variables as a JSON DOCUMENT (or to stdout), as virt-fw-vars --output-json does."""
    from pvefi.report.variables import export_to_json

    with Edk2Store.open(file, writable=False) as store:
        text = json.dumps(export_to_json(store), indent=4)
    if document is None:
        click.echo(text)
    elif document.exists() and document.samefile(file):
        raise UsageError(f"{document}: expected a file to write the document to, found the store itself")
    else:
        try:
            replace_file(document, f"{text}\n".encode())
        except OSError as error:
            raise UsageError(f"{document}: cannot be written: {error.strerror}") from error


@command.command()
@_FILE
@click.option(
    "--size",
    type=click.Choice([*_LAYOUTS]),
    default=OVMF_4M.name,
    show_default=True,
    help="The size of the OVMF that is to take it: 4M for OVMF_CODE_4M.fd, 2M for OVMF_CODE.fd.",
)
def new(file: Path, size: str) -> None:
    """Make an empty store, byte for byte that of OVMF's build. FILE must not be there."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError as error:
        if file.is_block_device():
            way_out = f"make it in a file and copy that: dd if=FILE of={file}"
            raise UsageError(f"{file}: expected no file, found a device", way_out) from error
        raise UsageError(f"{file}: expected no file, found one", "remove it first") from error
    try:
        with os.fdopen(descriptor, "wb") as store:
            store.write(empty_store(_LAYOUTS[size]))
            store.flush()
            os.fsync(store.fileno())
        _sync_folder(file.parent)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder last: fsync(2) of a file alone does not do that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _found(store: Edk2Store, file: Path, name: str, vendor: str | None) -> Variable:
    key = _key(store, name, vendor)
    found = store.get(*key)
    if found is None:
        raise UsageError(f"{file}: expected a variable {name}, found none", "pvefi vars list shows all")
    return found


def _key(store: Edk2Store, name: str, vendor: str | None) -> tuple[str, Guid]:
    """Return name and vendor of the variable meant: the one of that name, or what the specification has."""
    if not name or "\0" in name or not _is_text(name):
        raise UsageError(f"expected a variable's name, found {name!r}")
    try:
        if vendor is not None:
            return name, Guid.parse(vendor)
        if match := _WITH_GUID.fullmatch(name):
            return match[1], Guid.parse(match[2])
    except ValueError as error:
        raise UsageError(f"--vendor: expected a GUID, found {vendor!r}") from error
    vendors = [one.vendor for one in store if one.name == name]
    if len(vendors) > 1:
        shown = ", ".join(str(one) for one in vendors)
        raise UsageError(f"expected the vendor of {name}, found several: {shown}", "--vendor GUID")
    if vendors:
        return name, vendors[0]
    for guid in DEFINED_VARIABLES:
        if defined_attributes(name, guid) is not None:
            return name, guid
    raise UsageError(f"expected a variable {name}, found none", "a new one needs --vendor GUID")


def _is_text(given: str) -> bool:
    """Whether an argument is text: bytes that are no UTF-8 come as lone surrogates."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in given)


def _data(as_hex: str | None, text: str | None, as_ascii: str | None, file: Path | None) -> bytes:
    given = [one for one in (as_hex, text, as_ascii, file) if one is not None]
    if len(given) != 1:
        raise UsageError(f"expected one of --hex, --text, --ascii and --data, found {len(given)}")
    try:
        if as_hex is not None:
            data = bytes.fromhex(as_hex)
        elif text is not None:
            if not _is_text(text):
                raise UsageError(f"--text: expected UTF-8, found {text!r}")
            data = f"{text}\0".encode("utf-16-le", "surrogatepass")
        elif as_ascii is not None:
            data = as_ascii.encode("ascii")
        else:
            assert file is not None
            limit = OVMF_4M.store_size
            return bytes(read_file(file, "a variable's data", less_than=limit, way_out="no store has room"))
    except UnicodeEncodeError as error:
        raise UsageError(f"--ascii: expected ASCII, found {as_ascii!r}", "--text takes any") from error
    except ValueError as error:
        raise UsageError(f"--hex: expected bytes in hexadecimal, found {as_hex!r}") from error
    if not data:
        raise UsageError("expected data, found none", "pvefi vars delete removes a variable")
    return data


def _number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 32:
        raise UsageError(f"--attributes: expected a number of 32 bits, found {text!r}")
    return number
