# SPDX-License-Identifier: GPL-2.0-or-later
"""Types of command line options that several verbs share."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import click

from pvefi.efi.profiles import Profile

__all__ = ["PROFILE", "SECONDS", "SIZE", "ProfileType", "Seconds", "Size"]

_UNITS = "KMG"
_DAYS = 30
"""More than any boot takes, and less than what a clock of the system can wait for."""

if TYPE_CHECKING:
    ProfileBase = click.ParamType[Profile]
    SizeBase = click.ParamType[int]
    SecondsBase = click.ParamType[float]
else:
    ProfileBase = SizeBase = SecondsBase = (
        click.ParamType
    )  # not generic at run time in older releases of click 8


class Size(SizeBase):
    """A size in bytes, written as a whole number with the unit K, M or G (powers of 1024)."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes; click's BadParameter says what is wrong with `value`."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,12})([KMGkmg])?(?:i?[Bb])?", value.strip())
        if match is None:
            self.fail(f"{value!r} is not a size (write a whole number with K, M or G: 512M)", param, ctx)
        number, unit = int(match[1]), match[2]
        if unit is None:
            self.fail(f"{value!r} has no unit (write {number or 512}M, or K or G)", param, ctx)
        if number == 0:
            self.fail(f"{value!r} is nothing (write a whole number with K, M or G: 512M)", param, ctx)
        return number << 10 * (_UNITS.index(unit.upper()) + 1)


SIZE = Size()


class Seconds(SecondsBase):
    """A time span in seconds, more than none and at most 30 days."""

    name = "seconds"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of seconds; click's BadParameter says what is wrong with `value`."""
        most = _DAYS * 24 * 60 * 60
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= most:  # which a NaN is not
            self.fail(f"{value!r} is no time (write seconds: more than 0, at most {most})", param, ctx)
        return seconds


SECONDS = Seconds()


class ProfileType(ProfileBase):
    """A profile: one of pvefi's by name, or a file of one."""

    name = "profile"

    def convert(
        self, value: str | Profile, param: click.Parameter | None, ctx: click.Context | None
    ) -> Profile:
        """Return the profile; UsageError says why `value` is none."""
        from pvefi.profile_file import find_profile

        return value if isinstance(value, Profile) else find_profile(value)


PROFILE = ProfileType()
