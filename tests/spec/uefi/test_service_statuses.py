# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of statuses against what pvefi offers, and what its bodies say that they raise."""

from __future__ import annotations

import pytest

from pvefi.efi.coverage import Offer, boot_services, protocol_functions, runtime_services
from pvefi.spec.uefi.service_statuses import AT_RUNTIME_ALONE, SERVICE_STATUSES
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import RESERVED_SLOT

OFFERS = [
    offer
    for offer in (*boot_services(), *runtime_services(), *protocol_functions())
    if offer.name != RESERVED_SLOT
]

# What bodies answer besides: edk2 does so too, for what the specification leaves undefined: handles, events
# and files that are none, pointers that are NULL. The rest has its reason beside it.
INVALID = (EfiStatus.INVALID_PARAMETER,)
DEVIATIONS: dict[str, tuple[EfiStatus, ...]] = {
    "SignalEvent": INVALID,
    "CloseEvent": INVALID,
    "OpenProtocol": (EfiStatus.OUT_OF_RESOURCES,),  # the list of openers is bounded
    "OpenProtocolInformation": INVALID,
    "EFI_FILE_PROTOCOL.Close": INVALID,
    "EFI_FILE_PROTOCOL.Delete": INVALID,
    # A directory of the host may have more names than are kept, or be closed to pvefi.
    "EFI_FILE_PROTOCOL.Read": (*INVALID, EfiStatus.OUT_OF_RESOURCES, EfiStatus.ACCESS_DENIED),
    "EFI_FILE_PROTOCOL.Write": INVALID,
    "EFI_FILE_PROTOCOL.GetPosition": INVALID,
    "EFI_FILE_PROTOCOL.SetPosition": INVALID,
    "EFI_FILE_PROTOCOL.GetInfo": INVALID,
    "EFI_FILE_PROTOCOL.SetInfo": INVALID,
    "EFI_FILE_PROTOCOL.Flush": INVALID,
    "EFI_SIMPLE_FILE_SYSTEM_PROTOCOL.OpenVolume": INVALID,
    "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.ReadKeyStroke": INVALID,
    "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString": INVALID,
    # UEFI 2.10 dropped the line of earlier versions; edk2's SimpleTextOut.h still has it.
    "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.SetAttribute": (EfiStatus.UNSUPPORTED,),
}


def test_every_service_and_function_that_is_offered_has_its_statuses() -> None:
    assert {offer.name for offer in OFFERS} == set(SERVICE_STATUSES)


@pytest.mark.parametrize("offer", [one for one in OFFERS if one.implemented], ids=lambda one: one.name)
def test_a_body_answers_what_the_specification_allows_or_a_known_deviation(offer: Offer) -> None:
    beyond = tuple(status for status in offer.statuses if status not in SERVICE_STATUSES[offer.name])
    assert beyond == DEVIATIONS.get(offer.name, ())


def test_success_is_in_no_table_and_no_status_is_there_twice() -> None:
    for statuses in SERVICE_STATUSES.values():
        assert EfiStatus.SUCCESS not in statuses
        assert len(set(statuses)) == len(statuses)


def test_what_is_for_runtime_alone_is_in_the_table() -> None:
    for service, statuses in AT_RUNTIME_ALONE.items():
        assert set(statuses) <= set(SERVICE_STATUSES[service])
