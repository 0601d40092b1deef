# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machines work on this host, found out by trying them: what `pvefi doctor` reports."""

from pvefi.machines.survey.embedded import EmbeddedSurvey, survey_embedded
from pvefi.machines.survey.host import Host, survey_host
from pvefi.machines.survey.qemu import QemuSurvey, TypeTrial, survey_qemu
from pvefi.machines.survey.xen import XenSurvey, survey_xen

__all__ = [
    "EmbeddedSurvey",
    "Host",
    "QemuSurvey",
    "TypeTrial",
    "XenSurvey",
    "survey_embedded",
    "survey_host",
    "survey_qemu",
    "survey_xen",
]
