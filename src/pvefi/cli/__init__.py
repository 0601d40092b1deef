# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `pvefi`: finds the verb, and turns every way in which it can end into one line and a status.

A verb is a module of this package with a click command `command`, imported only when it is called. It returns
an ExitStatus (or nothing, which is OK) and raises what `pvefi.errors` has; only this module reports errors.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import click

from pvefi import __version__
from pvefi.cli import streams
from pvefi.cli.signals import Terminated, terminable
from pvefi.cli.status import ExitStatus
from pvefi.cli.streams import one_line
from pvefi.errors import GuestFault, MachineError, PvefiError

__all__ = ["main"]

VERBS: Mapping[str, str] = {
    "boot": "Boot a kernel or an EFI program through one of its entries.",
    "serve": "Be the EFI of domains of Xen that xl or libvirt make.",
    "inspect": "Say what an image is and which entries it has.",
    "handoff": "Compare what kernels were given at their hand-off.",
    "evaluate": "Boot images through every entry on every machine, and report what differs.",
    "trace": "Read the trace that a boot has written.",
    "vars": "Read and change a file of EFI variables, OVMF's among them.",
    "inject": "Have every service call of a boot fail, and say what comes of it.",
    "minimise": "Find the smallest set of services and protocols that an image needs.",
    "doctor": "Say which machines work here, and what to install for the rest.",
}

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


class Verbs(click.Group):
    """The group of verbs; knows their names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"pvefi.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs into the help text."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"pvefi {__version__}")
        ctx.exit()


@click.group(
    cls=Verbs,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
    epilog="Exit status: 0 ok, 1 the guest failed or a diff found a difference, 2 bad input or usage, "
    "3 machine not available, 70 a bug of pvefi, 124 time-out, 129 hung up, 130 interrupted, "
    "143 terminated.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def pvefi() -> None:
    """Boot unmodified kernels through their EFI entry, with the EFI environment outside the guest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `pvefi` with these arguments (the process's own by default) and return its exit status."""
    try:
        streams.prepare()
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        streams.flush()
    except BrokenPipeError:
        return _lost_reader()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich's Console makes the one of the other
            return _lost_reader()
        raise
    except (Exception, KeyboardInterrupt, Terminated) as error:
        return _report(error)
    return status


def _notes(error: BaseException) -> list[str]:
    """Return what was noted of a boot while `error` ended it."""
    return list(getattr(error, "__notes__", ()))


def _lost_reader() -> int:
    streams.silence()
    return ExitStatus.BROKEN_PIPE


def _run(words: list[str]) -> int:
    try:
        with pvefi.make_context("pvefi", list(words), obj=tuple(words)) as context:
            if not words:
                click.echo(pvefi.get_help(context), err=True)
                return ExitStatus.BAD_INPUT
            with terminable():
                answer = pvefi.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return int(answer or ExitStatus.OK)


def _report(error: BaseException) -> int:
    """Write the one line that an error deserves and return its exit status."""
    if os.environ.get("PVEFI_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    status, text = _judge(error)
    try:
        streams.flush()
    except OSError:
        streams.silence()
    with contextlib.suppress(OSError):
        print(f"pvefi: {one_line(text)}", file=sys.stderr, flush=True)
    return status


def _judge(error: BaseException) -> tuple[ExitStatus, str]:
    match error:
        case KeyboardInterrupt() | click.Abort():
            return ExitStatus.INTERRUPTED, "; ".join(("interrupted", *_notes(error)))
        case Terminated():
            hung_up = error.signal is signal.SIGHUP
            status = ExitStatus.HUNG_UP if hung_up else ExitStatus.TERMINATED
            return status, "; ".join((f"ended by {error.signal.name}", *_notes(error)))
        case click.UsageError():
            help_of = error.ctx.command_path if error.ctx else "pvefi"
            return ExitStatus.BAD_INPUT, f"{_sentence(error.format_message())} ({help_of} --help)"
        case click.ClickException():
            return ExitStatus.BAD_INPUT, _sentence(error.format_message())
        case MachineError():
            return ExitStatus.NO_MACHINE, str(error)
        case GuestFault():
            return ExitStatus.GUEST_FAILED, str(error)
        case PvefiError():
            return ExitStatus.BAD_INPUT, str(error)
        case OSError(filename=str() | bytes() as name, strerror=str() as reason):
            return ExitStatus.BAD_INPUT, f"{os.fsdecode(name)}: {_sentence(reason)}"
        case OSError() if error.errno in _FULL:
            return ExitStatus.BAD_INPUT, f"cannot write: {_sentence(error.strerror or '')}"
        case MemoryError():
            return ExitStatus.NO_MACHINE, "this host has not enough memory (a smaller --memory may do)"
        case ModuleNotFoundError(name=str() as name) if not name.startswith("pvefi"):
            way_out = "pvefi's installation is not whole: pip install pvefi"
            return ExitStatus.NO_MACHINE, f"the Python module {name} is missing ({way_out})"
    where = _place(error.__traceback__)
    about = ": ".join(part for part in (type(error).__name__, str(error)) if part)
    return ExitStatus.BUG, f"a bug of pvefi at {where}: {about} (PVEFI_DEBUG=1 shows the traceback)"


def _place(traceback: TracebackType | None) -> str:
    """Return file and line of the innermost frame that is pvefi's own, or of the innermost one."""
    home = Path(__file__).resolve().parents[1]
    place = own = ""
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        if path.is_relative_to(home):
            own = f"pvefi/{path.relative_to(home)}:{traceback.tb_lineno}"
        place = f"{path.name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return own or place


def _sentence(text: str) -> str:
    """Return a message of another library in our style: no capital, no full stop."""
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text
