# SPDX-License-Identifier: GPL-2.0-or-later
"""A control domain to test with: a xenstored, an xl and a Xen, whose state is files in one folder.

`store/` is what xenstored tells, `flags/` has for each domain what Xen tells of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

from pvefi.machines.xen.libraries import Calls, Libraries

__all__ = ["DOMID", "HVM", "PAUSED", "SHUTDOWN", "Dom0", "FilesLibraries"]

DOMID = 7
HVM, SHUTDOWN, PAUSED, DYING = 2, 4, 8, 1

_XL = """\
#!/bin/sh
root=$(dirname "$(dirname "$0")")
[ $1 = unpause ] || echo "$*" >> $root/calls
at=$root/store/local/domain/7
case $1 in
create)
    for file; do :; done
    cp "$file" $root/made.cfg
    cp "$(sed -n 's/^kernel = "\\(.*\\)"/\\1/p' "$file" | tail -1)" $root/kernel
    [ ! -x $root/refusal ] || . $root/refusal
    mkdir -p $at/console $root/flags
    setting() { sed -n "s/^$1 = \\"\\(.*\\)\\"/\\\\1/p" "$file" | tail -1; }
    printf %s "$(setting name)" > $at/name
    printf %s "/vm/$(setting uuid)" > $at/vm
    printf %s "$(cat $root/tty)" > $at/console/tty
    echo 10 > $root/flags/7
    [ ! -x $root/after ] || . $root/after;;
unpause) # tests wait for the call, and say then what has become of the domain
    echo 2 > $root/running; mv $root/running $root/flags/$2
    echo "$*" >> $root/calls;;
destroy) rm -rf $root/store/local/domain/$2 $root/flags/$2;;
list) cat $root/listed;;
esac
"""


class FilesLibraries(Libraries):
    """Xen's libraries, of which there is libxencall, on the files of `root`."""

    def __init__(self, root: Path, version: int = 0x15) -> None:
        self._root = root
        self._version = version
        self.asked: list[int] = []

    def calls(self) -> Calls:
        """Return the calls."""
        return FilesCalls(self._root, self._version, self.asked)


class FilesCalls(Calls):
    """Answers of a Xen whose domctl interface has one version; `asked` are those of the calls."""

    def __init__(self, root: Path, version: int, asked: list[int]) -> None:
        self._root = root
        self._version = version
        self._asked = asked

    def call(self, number: int, structure: bytes) -> tuple[int, bytes]:
        """Answer XEN_DOMCTL_getdomaininfo as Xen before 4.19 did: the next domain where there is none."""
        assert (number, len(structure)) == (36, 144)
        command, version, domid = struct.unpack_from("<IIH", structure)
        assert command == 5
        self._asked.append(version)
        if version != self._version:
            return errno.EACCES, structure
        there = sorted(int(path.name) for path in (self._root / "flags").glob("*"))
        found = next((one for one in there if one >= domid), None)
        if found is None:
            return errno.ESRCH, structure
        flags = int((self._root / "flags" / str(found)).read_text())
        return 0, structure[:16] + struct.pack("<HHI", found, 0, flags) + structure[24:]

    def close(self) -> None:
        """Close nothing."""


class Dom0:
    """The folder, with a xenstored that serves it; `mute` is one that reads and never answers."""

    def __init__(self, root: Path, *, mute: bool = False) -> None:
        self.root = root
        self._mute = mute
        self._watching: list[tuple[socket.socket, bytes, bytes]] = []
        self._connections: list[socket.socket] = []
        for folder in ("store/local/domain", "flags", "bin", "run/xenstored"):
            (root / folder).mkdir(parents=True)
        xl = root / "bin" / "xl"
        xl.write_text(_XL)
        xl.chmod(0o755)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(root / "run/xenstored/socket"))
        self._socket.listen()
        self.terminal, self._slave = os.openpty()
        tty.setraw(self._slave)
        (root / "tty").write_text(os.ttyname(self._slave))
        self.libraries = FilesLibraries(root)
        threading.Thread(target=self._accept, daemon=True).start()

    def calls(self) -> list[str]:
        """Return what xl was called with."""
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def flags(self, flags: int | None, domid: int = DOMID) -> None:
        """Have Xen say this of a domain, None that it is not there; then tell those who watch."""
        path = self.root / "flags" / str(domid)
        if flags is None:
            path.unlink()
        else:
            new = self.root / "flags.new"
            new.write_text(str(flags))
            new.replace(path)  # who reads meanwhile reads one or the other
        self.fire(b"@releaseDomain")

    def domain(self, flags: int, kind: str = "pvh", name: str = "mine", domid: int = DOMID) -> None:
        """Have a domain that somebody else has made."""
        at = self.root / "store/local/domain" / str(domid)
        at.mkdir(parents=True)
        (at / "name").write_text(name)
        (at / "vm").write_text("/vm/their-uuid")
        (self.root / "listed").write_text(f'{{"config": {{"c_info": {{"type": "{kind}"}}}}}}')
        self.flags(flags, domid)

    def fire(self, path: bytes) -> None:
        """Send the event of a watch."""
        for end, watched, token in self._watching:
            if watched == path:
                body = watched + b"\0" + token + b"\0"
                with contextlib.suppress(OSError):  # who watched has gone
                    end.sendall(struct.pack("<4I", 15, 0, 0, len(body)) + body)

    def hang_up(self) -> None:
        """Have xenstored end."""
        for end in (self._socket, *self._connections):
            with contextlib.suppress(OSError):  # it has ended already
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._connections.clear()

    def _accept(self) -> None:
        while True:
            try:
                end, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(end)
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        try:
            for kind, number, payload in _requests(end):
                if self._mute:
                    continue
                answer, event = self._answer(end, kind, payload)
                body = b"ENOENT\0" if answer is None else answer
                head = struct.pack("<4I", 16 if answer is None else kind, number, 0, len(body))
                end.sendall(head[:7])  # in two parts, as a stream may come
                end.sendall(head[7:] + body + event)
        except OSError:
            return

    def _answer(self, end: socket.socket, kind: int, payload: bytes) -> tuple[bytes | None, bytes]:
        names = payload.split(b"\0")
        path = self.root / "store" / names[0].decode().lstrip("/")
        if kind == 4:
            self._watching.append((end, names[0], names[1]))
            body = names[0] + b"\0" + names[1] + b"\0"
            return b"OK\0", struct.pack("<4I", 15, 0, 0, len(body)) + body
        if kind == 1 and path.is_dir():
            return b"".join(one.name.encode() + b"\0" for one in path.iterdir()), b""
        if kind == 2 and path.is_file():
            return path.read_bytes(), b""
        return None, b""

    def close(self) -> None:
        """End all of it."""
        self.hang_up()
        os.close(self.terminal)
        os.close(self._slave)


def _requests(end: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    with end.makefile("rb") as stream:
        while len(head := stream.read(16)) == 16:
            kind, number, _, length = struct.unpack("<4I", head)
            yield kind, number, stream.read(length)
