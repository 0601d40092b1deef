# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of `inspect`'s JSON document that tell of a PE image: headers, SBAT, signatures, resources."""

from __future__ import annotations

from pvefi.image.model import Image
from pvefi.image.pe import PeImage
from pvefi.image.sbat import SbatEntry
from pvefi.image.signatures import Signature
from pvefi.image.uki import Unified
from pvefi.report.inspect_names import enum_name, flag_names
from pvefi.trace.values import Json

__all__ = ["pe_to_json", "unified_to_json"]


def pe_to_json(pe: PeImage, image: Image) -> dict[str, Json]:
    """Return the PE headers of `image`, its SBAT lines and its signatures."""
    return {
        "machine": enum_name(pe.machine),
        "bits": pe.bits,
        "subsystem": enum_name(pe.subsystem),
        "entry_rva": pe.entry_rva,
        "image_base": pe.image_base,
        "section_alignment": pe.section_alignment,
        "file_alignment": pe.file_alignment,
        "size_of_image": pe.size_of_image,
        "size_of_headers": pe.size_of_headers,
        "characteristics": list(flag_names(pe.characteristics)),
        "dll_characteristics": list(flag_names(pe.dll_characteristics)),
        "nx_compatible": pe.nx_compatible,
        "relocatable": pe.relocatable,
        "relocation_count": image.relocation_count,
        "directories": {
            enum_name(which): {"address": address, "size": size} for which, address, size in pe.directories
        },
        "sections": [
            {
                "name": section.name,
                "virtual_address": section.virtual_address,
                "virtual_size": section.virtual_size,
                "raw_offset": section.raw_offset,
                "raw_size": section.raw_size,
                "characteristics": list(flag_names(section.characteristics)),
            }
            for section in pe.sections
        ],
        "compat": [
            {"machine": enum_name(compat.machine), "entry_rva": compat.entry_rva} for compat in pe.compat
        ],
        "sbat": [_sbat(entry) for entry in image.sbat],
        "signatures": [_signature(signature) for signature in image.signatures],
    }


def _sbat(entry: SbatEntry) -> dict[str, Json]:
    return {
        "component_name": entry.component_name,
        "component_generation": entry.component_generation,
        "vendor_name": entry.vendor_name,
        "vendor_package_name": entry.vendor_package_name,
        "vendor_version": entry.vendor_version,
        "vendor_url": entry.vendor_url,
    }


def _signature(signature: Signature) -> dict[str, Json]:
    return {
        "type": enum_name(signature.type),
        "offset": signature.offset,
        "size": signature.size,
        "digest_algorithm": signature.digest_algorithm or None,
        "digest": signature.digest.hex() or None,
        "digest_matches": signature.digest_matches,
        "signers": [
            {
                "subject": signer.subject or None,
                "issuer": signer.issuer,
                "serial_number": f"{signer.serial_number:x}",
            }
            for signer in signature.signers
        ],
        "certificates": [
            {
                "subject": one.subject,
                "issuer": one.issuer,
                "serial_number": f"{one.serial_number:x}",
                "not_before": one.not_before.isoformat(),
                "not_after": one.not_after.isoformat(),
            }
            for one in signature.certificates
        ],
    }


def unified_to_json(unified: Unified) -> dict[str, Json]:
    """Return what a unified kernel image carries; the kernels inside are in `embedded`."""
    return {
        "kind": unified.kind.value,
        "resources": [
            {
                "name": resource.name,
                "kind": resource.kind.value,
                "profile": resource.profile,
                "offset": resource.offset,
                "size": resource.size,
                "sha256": resource.sha256,
                "text": resource.text or None,
            }
            for resource in unified.resources
        ],
    }
