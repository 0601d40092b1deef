# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi vars enroll`: puts certificates into PK, KEK, db and dbx of a store."""

from __future__ import annotations

from pathlib import Path

import click

from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.errors import UsageError
from pvefi.layout import Guid
from pvefi.spec.uefi.guids import OVMF_ENROLL_DEFAULT_KEYS

__all__ = ["command"]

_CERTIFICATE = click.Path(path_type=Path)


@click.command("enroll")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--microsoft", is_flag=True, help="Microsoft's certificates of 2011 and of 2023.")
@click.option("--microsoft-2011", is_flag=True, help="Microsoft's of 2011 only.")
@click.option("--microsoft-2023", is_flag=True, help="Microsoft's of 2023 only.")
@click.option("--debian", is_flag=True, help="Debian's CA, into db.")
@click.option(
    "--pk", type=_CERTIFICATE, metavar="CERT", help="The platform key, in place of one that is there."
)
@click.option("--kek", type=_CERTIFICATE, metavar="CERT", multiple=True, help="A key exchange key.")
@click.option("--db", metavar="WHAT", multiple=True, help="What may run.")
@click.option("--dbx", metavar="WHAT", multiple=True, help="What must not run.")
@click.option(
    "--owner",
    metavar="GUID",
    help="The owner of what --pk, --kek, --db and --dbx name; that of OVMF's own tool unless given.",
)
def command(
    file: Path,
    microsoft: bool,
    microsoft_2011: bool,
    microsoft_2023: bool,
    debian: bool,
    pk: Path | None,
    kek: tuple[Path, ...],
    db: tuple[str, ...],
    dbx: tuple[str, ...],
    owner: str | None,
) -> None:
    """Put certificates into PK, KEK, db and dbx; what is there stays.

    A CERT is a file with a certificate, PEM or DER. WHAT is such a file, an EFI program, whose hash is taken,
    a list of signatures or a signed update of one, or a SHA-256 hash in hexadecimal. Microsoft's certificates
    come with a platform key for a store that has none. Without one a firmware stays in setup mode.
    """
    from pvefi.enrollment import (
        DEBIAN,
        MICROSOFT_2011,
        MICROSOFT_2023,
        VENDORS,
        Enrollment,
        enroll,
        read_certificates,
        read_signatures,
        shipped,
    )

    whose = _guid(owner)
    wanted = Enrollment(
        pk=() if pk is None else read_certificates(pk, whose),
        kek=tuple(one for path in kek for one in read_certificates(path, whose)),
        db=tuple(one for what in db for one in read_signatures(what, whose)),
        dbx=tuple(one for what in dbx for one in read_signatures(what, whose)),
    )
    sets = (
        (microsoft or microsoft_2011, MICROSOFT_2011),
        (microsoft or microsoft_2023, MICROSOFT_2023),
        (debian, DEBIAN),
    )
    for is_wanted, these in sets:
        if is_wanted:
            wanted = wanted.with_all_of(shipped(these))
    if wanted == Enrollment():
        raise UsageError("expected something to enroll, found nothing", "pvefi vars enroll --help lists what")
    with Edk2Store.open(file) as store:
        enroll(store, wanted)
        has_key = store.get("PK", VENDORS["PK"]) is not None
    if not has_key:
        click.echo(
            f"pvefi: {file}: there is no PK, so anybody may still change the keys (--pk or --microsoft)",
            err=True,
        )


def _guid(text: str | None) -> Guid:
    try:
        return OVMF_ENROLL_DEFAULT_KEYS if text is None else Guid.parse(text)
    except ValueError as error:
        raise UsageError(f"--owner: expected a GUID, found {text!r}") from error
