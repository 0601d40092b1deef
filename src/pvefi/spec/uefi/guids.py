# SPDX-License-Identifier: GPL-2.0-or-later
"""The GUIDs that boot code asks for, by the name their document gives them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pvefi.layout import Guid

__all__ = ["GUID_NAMES", "guid_name"]

# Protocols of UEFI 2.10, each with its section.
LOADED_IMAGE_PROTOCOL = Guid.parse("5b1b31a1-9562-11d2-8e3f-00a0c969723b")  # §9.1.1
LOADED_IMAGE_DEVICE_PATH_PROTOCOL = Guid.parse("bc62157e-3e33-4fec-9920-2d3b36d750df")  # §9.2.1
DEVICE_PATH_PROTOCOL = Guid.parse("09576e91-6d3f-11d2-8e39-00a0c969723b")  # §10.2
DEVICE_PATH_TO_TEXT_PROTOCOL = Guid.parse("8b843e20-8132-4852-90cc-551a4e4a7f1c")  # §10.6
DEVICE_PATH_FROM_TEXT_PROTOCOL = Guid.parse("05c99a21-c70f-4ad2-8a5f-35df3343f51e")  # §10.6
DEVICE_PATH_UTILITIES_PROTOCOL = Guid.parse("0379be4e-d706-437d-b037-edb82fb772a4")  # §10.5.1
DRIVER_BINDING_PROTOCOL = Guid.parse("18a031ab-b443-4d1a-a5c0-0c09261e9f71")  # §11.1
SIMPLE_TEXT_INPUT_PROTOCOL = Guid.parse("387477c1-69c7-11d2-8e39-00a0c969723b")  # §12.3.1
SIMPLE_TEXT_INPUT_EX_PROTOCOL = Guid.parse("dd9e7534-7762-4698-8c14-f58517a625aa")  # §12.2.1
SIMPLE_TEXT_OUTPUT_PROTOCOL = Guid.parse("387477c2-69c7-11d2-8e39-00a0c969723b")  # §12.4.1
SIMPLE_POINTER_PROTOCOL = Guid.parse("31878c87-0b75-11d5-9a4f-0090273fc14d")  # §12.5.1
SERIAL_IO_PROTOCOL = Guid.parse("bb25cf6f-f1d4-11d2-9a0c-0090273fc1fd")  # §12.8.1
GRAPHICS_OUTPUT_PROTOCOL = Guid.parse("9042a9de-23dc-4a38-96fb-7aded080516a")  # §12.9.2
EDID_DISCOVERED_PROTOCOL = Guid.parse("1c0c34f6-d380-41fa-a049-8ad06c1a66aa")  # §12.9.2
EDID_ACTIVE_PROTOCOL = Guid.parse("bd8c1056-9f36-44ec-92a8-a6337f817986")  # §12.9.2
LOAD_FILE_PROTOCOL = Guid.parse("56ec3091-954c-11d2-8e3f-00a0c969723b")  # §13.1
LOAD_FILE2_PROTOCOL = Guid.parse("4006c0c1-fcb3-403e-996d-4a6c8724e06d")  # §13.2
SIMPLE_FILE_SYSTEM_PROTOCOL = Guid.parse("964e5b22-6459-11d2-8e39-00a0c969723b")  # §13.4
FILE_INFO_ID = Guid.parse("09576e92-6d3f-11d2-8e39-00a0c969723b")  # §13.5.16
FILE_SYSTEM_INFO_ID = Guid.parse("09576e93-6d3f-11d2-8e39-00a0c969723b")  # §13.5.17
FILE_SYSTEM_VOLUME_LABEL_ID = Guid.parse("db47d7d3-fe81-11d3-9a35-0090273fc14d")  # §13.5.18
DISK_IO_PROTOCOL = Guid.parse("ce345171-ba0b-11d2-8e4f-00a0c969723b")  # §13.7
BLOCK_IO_PROTOCOL = Guid.parse("964e5b21-6459-11d2-8e39-00a0c969723b")  # §13.9
PCI_ROOT_BRIDGE_IO_PROTOCOL = Guid.parse("2f707ebb-4a1a-11d4-9a38-0090273fc14d")  # §14.2
PCI_IO_PROTOCOL = Guid.parse("4cf5b200-68b8-4ca5-9eec-b23e3f50029a")  # §14.4
UNICODE_COLLATION_PROTOCOL = Guid.parse("1d85cd7f-f43d-11d2-9a0c-0090273fc14d")  # EFI 1.10 §10.1
UNICODE_COLLATION_PROTOCOL2 = Guid.parse("a4c751fc-23ae-4c3e-92e9-4964cf63f349")  # §21.1
SIMPLE_NETWORK_PROTOCOL = Guid.parse("a19832b9-ac25-11d3-9a2d-0090273fc14d")  # §24.1
PXE_BASE_CODE_PROTOCOL = Guid.parse("03c4e603-ac28-11d3-9a2d-0090273fc14d")  # §24.3.1
RNG_PROTOCOL = Guid.parse("3152bca5-eade-433d-862e-c01cdc291f44")  # §37.5
MEMORY_ATTRIBUTE_PROTOCOL = Guid.parse("f4560cf6-40ec-4b4a-a192-bf1d57d0b189")  # §37.7
CC_MEASUREMENT_PROTOCOL = Guid.parse("96751a3d-72f4-41a6-a794-ed5d0e67ae6b")  # §38.2

# Tables, variables, events and media of UEFI 2.10.
GLOBAL_VARIABLE = Guid.parse("8be4df61-93ca-11d2-aa0d-00e098032b8c")  # §3.3
HARDWARE_ERROR_VARIABLE = Guid.parse("414e6bdd-e47b-47cc-b244-bb61020cf516")  # §8.2.7.2
IMAGE_SECURITY_DATABASE = Guid.parse("d719b2cb-3d3a-4596-a3bc-dad00e67656f")  # §32.6.1
ACPI_20_TABLE = Guid.parse("8868e871-e4f1-11d3-bc22-0080c73c8881")  # §4.6.1
ACPI_TABLE = Guid.parse("eb9d2d30-2d88-11d3-9a16-0090273fc14d")  # §4.6.1
SMBIOS_TABLE = Guid.parse("eb9d2d31-2d88-11d3-9a16-0090273fc14d")  # §4.6.1
SMBIOS3_TABLE = Guid.parse("f2fd1544-9794-4a2c-992e-e5bbcf20e394")  # §4.6.1
RT_PROPERTIES_TABLE = Guid.parse("eb66918a-7eef-402a-842e-931d21c38ae9")  # §4.6.2
MEMORY_ATTRIBUTES_TABLE = Guid.parse("dcfa911d-26eb-469f-a220-38b7dc461220")  # §4.6.4
CONFORMANCE_PROFILES_TABLE = Guid.parse("36122546-f7e7-4c8f-bd9b-eb8525b50c0b")  # §4.6.5
EVENT_GROUP_EXIT_BOOT_SERVICES = Guid.parse("27abf055-b1b8-4c26-8048-748f37baa2df")  # §7.1.2
EVENT_GROUP_BEFORE_EXIT_BOOT_SERVICES = Guid.parse("8be0e274-3970-4b44-80c5-1ab9502f3bfc")  # §7.1.2
EVENT_GROUP_VIRTUAL_ADDRESS_CHANGE = Guid.parse("13fa7698-c831-49c7-87ea-8f43fcc25196")  # §7.1.2
EVENT_GROUP_MEMORY_MAP_CHANGE = Guid.parse("78bee926-692f-48fd-9edb-01422ef0d7ab")  # §7.1.2
EVENT_GROUP_READY_TO_BOOT = Guid.parse("7ce88fb3-4bd7-4679-87a8-a8d8dee50d2b")  # §7.1.2
RNG_ALGORITHM_RAW = Guid.parse("e43176d7-b6e8-4827-b784-7ffdc4b68561")  # §37.5
RNG_ALGORITHM_SP800_90_CTR_256 = Guid.parse("44f0de6e-4d8c-4045-a8c7-4dd168856b9e")  # §37.5

# Other documents.
TCG_PROTOCOL = Guid.parse("f541796d-a62e-4954-a775-9584f61b9cdd")  # systemd/src/boot/efi, its name there
TCG2_PROTOCOL = Guid.parse("607f766c-7455-42be-930b-e4d76db2720f")  # TCG EFI Protocol Specification §6
TCG_MEMORY_OVERWRITE_CONTROL = Guid.parse(
    "e20939be-32d4-41be-a150-897f85d49829"
)  # TCG Reset Attack Mitigation §5
UGA_DRAW_PROTOCOL = Guid.parse("982c298b-f4fa-41cb-b838-77aa688fb839")  # EFI 1.10 §10.7
UGA_IO_PROTOCOL = Guid.parse("61a4d49e-6f68-4f1b-b922-a86eed0b07a2")  # EFI 1.10 §10.7
APPLE_PROPERTIES_PROTOCOL = Guid.parse("91bd12fe-f6c3-44fb-a5b7-5122ab303ae0")  # linux/include/linux/efi.h
APPLE_SET_OS_PROTOCOL = Guid.parse("c5c5da95-7d5c-45e6-b2f1-3fd52bb10077")  # linux/include/linux/efi.h
SHIM_LOCK = Guid.parse("605dab50-e046-4300-abb6-3dd810dd8b23")  # shim/lib/guid.c
# edk2 MdeModulePkg/MdeModulePkg.dec, PcAtChipsetPkg/PcatRealTimeClockRuntimeDxe: vendors of variables.
EDK2_MONOTONIC_COUNTER = Guid.parse("eb704011-1402-11d3-8e77-00a0c969723b")  # gMtcVendorGuid
EDK2_REAL_TIME_CLOCK = Guid.parse("378d7b65-8da9-4773-b6e4-a47826a833e1")  # the driver's own, FILE_GUID
EDK2_MEMORY_TYPE_INFORMATION = Guid.parse(
    "4c19049f-4137-4dd3-9c10-8b97a83ffdfa"
)  # gEfiMemoryTypeInformationGuid
# Owners of signatures.
MICROSOFT_OWNER = Guid.parse("77fa9abd-0359-4d32-bd60-28f4e78f784b")  # edk2/OvmfPkg/OvmfPkg.dec
OVMF_ENROLL_DEFAULT_KEYS = Guid.parse(
    "a0baa8a3-041d-48a8-bc87-c36d121b5e3d"
)  # edk2/OvmfPkg/EnrollDefaultKeys
SECURITY_ARCH_PROTOCOL = Guid.parse("a46423e3-4617-49f1-b9ff-d1bfa9115839")  # PI 1.7 vol. 2 §12.9.1
SECURITY2_ARCH_PROTOCOL = Guid.parse("94ab2f58-1438-4ef1-9152-18941a3a0e68")  # PI 1.7 vol. 2 §12.9.2
OVMF_SEV_MEMORY_ACCEPTANCE_PROTOCOL = Guid.parse(
    "c5a010fe-38a7-4531-8a4a-0500d2fd1649"
)  # linux/include/linux/efi.h
LINUX_INITRD_MEDIA = Guid.parse("5568e427-68fc-4f3d-ac74-ca555231cc68")  # linux/include/linux/efi.h
LINUX_BOOT_MEMMAP = Guid.parse("800f683f-d08b-423a-a293-965c3c6fe2b4")  # linux/include/linux/efi.h
LINUX_RANDOM_SEED = Guid.parse("1ce1e5bc-7ceb-42f2-81e5-8aadf180f57b")  # linux/include/linux/efi.h
LINUX_SCREEN_INFO = Guid.parse("e03fc20a-85dc-406e-b90e-4ab502371d95")  # linux/include/linux/efi.h
LINUX_TPM_EVENT_LOG = Guid.parse("b7799cb0-eca2-4943-9667-1fae07b747fa")  # linux/include/linux/efi.h
LINUX_TPM_FINAL_LOG = Guid.parse("1e2ed096-30e2-4254-bd89-863bbef82325")  # linux/include/linux/efi.h
LINUX_MEMRESERVE = Guid.parse("888eb0c6-8ede-4ff5-a8f0-9aee5cb977c2")  # linux/include/linux/efi.h
LINUX_MOK_VARIABLE_TABLE = Guid.parse("c451ed2b-9694-45d3-baba-ed9f8988a389")  # linux/include/linux/efi.h
LINUX_COCO_SECRET = Guid.parse("adf956ad-e98c-484c-ae11-b51c7d336447")  # linux/include/linux/efi.h

# edk2 SecurityPkg/SecurityPkg.dec: vendors of variables that edk2 keeps for itself.
EDK2_CERT_DB = Guid.parse("d9bee56e-75dc-49d9-b4d7-b534210f637a")  # gEfiCertDbGuid
EDK2_VENDOR_KEYS_NV = Guid.parse("9073e4e0-60ec-4b6e-9903-4c223c260f3c")  # gEfiVendorKeysNvGuid
EDK2_SECURE_BOOT_ENABLE = Guid.parse(
    "f0a30bc7-af08-4556-99c4-001009c93a44"
)  # gEfiSecureBootEnableDisableGuid
EDK2_CUSTOM_MODE = Guid.parse("c076ec0c-7028-4399-a072-71ee5c448b9f")  # gEfiCustomModeEnableGuid

# pvefi's own: the hypervisor information, a table and a protocol (docs/hypervisor-information.md).
PVEFI_HYPERVISOR_INFORMATION = Guid.parse("b6a3f0c4-5d0e-4f0a-9c57-70766566692e")
# The vendor of pvefi's own variables.
PVEFI_VARIABLE = Guid.parse("1fca3a5c-2f0b-4b1e-8e0c-70766566692e")

GUID_NAMES: Mapping[Guid, str] = MappingProxyType(
    {value: name for name, value in globals().items() if isinstance(value, Guid)}
)


def guid_name(guid: Guid) -> str:
    """Return the GUID's name, or its text when no document here names it."""
    return GUID_NAMES.get(guid, str(guid))
