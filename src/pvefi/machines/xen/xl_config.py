# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes what xl makes a domain of: xl.cfg(5).

The grammar is that of tools/libs/util/libxlu_cfg_l.l and libxlu_cfg_y.y, and what a name means when it is
assigned to twice that of libxlu_cfg.c (xlu__cfg_set_store, find): the last one counts. So a user's text can
go to xl as it is, with what pvefi decides behind it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias

from pvefi.errors import UsageError

__all__ = ["DomainConfig", "Value", "XlText", "parse", "quoted"]

Value: TypeAlias = "str | tuple[Value, ...]"
"""A string, as which xl takes a number too, or a list."""

_TOKENS = re.compile(
    r"(?P<name>[a-z][._0-9a-z]*)"
    r"|(?P<number>[0-9][0-9a-fx]*)"
    r"|(?P<blank>[ \t]+)"
    r"|(?P<newline>\n|#[^\n]*(?:\n|\Z))"
    r"|(?P<string>'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<mark>\+=|[=,;\[\]])"
)
_ESCAPES = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class XlText:
    """A configuration as its user wrote it, `text`, and what xl reads of it; `path` is where it came from."""

    path: Path
    text: str
    settings: Mapping[str, Value]

    def string(self, name: str) -> str | None:
        """Return a setting that is a string, None where it is not set; UsageError for a list."""
        value = self.settings.get(name)
        if isinstance(value, tuple):
            raise UsageError(f"{self.path}: expected {name} to be one value, found a list")
        return value

    def number(self, name: str) -> int | None:
        """Return a setting that is a number, as strtoul(3) reads it; UsageError when it is none."""
        text = self.string(name)
        if text is None:
            return None
        try:
            return int(text, 8 if re.fullmatch("0[0-7]+", text) else 0)
        except ValueError:
            raise UsageError(f"{self.path}: expected {name} to be a number, found {text!r}") from None


@dataclass(frozen=True)
class DomainConfig:
    """A domain, of `kind` pvh or pv, with `memory_size` bytes of memory.

    `base` is the user's text, which xl reads first: what is said here wins over it. A size or a number of
    CPUs that is None is the base's; `disks` come to those of the base.
    """

    kernel: Path
    name: str
    kind: str = "pvh"
    memory_size: int | None = None
    cpus: int | None = None
    command_line: str = ""
    ramdisk: Path | None = None
    disks: tuple[str, ...] = ()
    base: str = ""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def text(self) -> str:
        """Return the file's contents."""
        lines = [
            f"type = {quoted(self.kind)}",
            f"name = {quoted(self.name)}",
            f"uuid = {quoted(self.uuid)}",
            f"kernel = {quoted(str(self.kernel))}",
            f"ramdisk = {quoted(str(self.ramdisk or ''))}",
            f"cmdline = {quoted(self.command_line)}",
        ]
        if self.memory_size is not None:
            lines += [f"memory = {self.memory_size >> 20}", f"maxmem = {self.memory_size >> 20}"]
        if self.cpus is not None:
            lines += [f"vcpus = {self.cpus}", f"maxvcpus = {self.cpus}"]
        if self.disks:
            lines.append(f"disk += [ {', '.join(map(quoted, self.disks))} ]")
        return "\n".join((*filter(None, (self.base,)), *lines)) + "\n"


def quoted(text: str) -> str:
    """Return a string of xl.cfg; the escapes are those of libxlu_cfg.c, xlu__cfgl_dequote."""
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    for letter, character in _ESCAPES.items():
        out = out.replace(character, f"\\{letter}")
    return f'"{out}"'


def parse(text: str, path: Path) -> XlText:
    """Read a configuration; UsageError, with the line, for what xl would not take."""
    return XlText(path, text, dict(_Parser(text, path).settings()))


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


class _Parser:
    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self._tokens = list(self._scanned(text))
        self._at = 0

    def _scanned(self, text: str) -> Iterator[_Token]:
        at, line = 0, 1
        while at < len(text):
            match = _TOKENS.match(text, at)
            if match is None:
                self._refuse("a name, a number, a string or a list", text[at:].partition("\n")[0][:30], line)
            kind = str(match.lastgroup)
            if kind != "blank":
                yield _Token(kind, match[0], line)
            line += match[0].count("\n")
            at = match.end()
        yield _Token("newline", "", line)  # the last line may end without one
        yield _Token("end", "", line)

    def _refuse(self, expected: str, found: str, line: int) -> NoReturn:
        raise UsageError(
            f"{self._path}:{line}: expected {expected}, found {found!r}",
            "xl create -n FILE tells what xl says",
        )

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _peek(self, *texts: str) -> bool:
        return self._tokens[self._at].text in texts and self._tokens[self._at].kind == "mark"

    def settings(self) -> Iterator[tuple[str, Value]]:
        """Yield each setting, one that was added to with all that it has by then."""
        so_far: dict[str, Value] = {}
        while (token := self._next()).kind != "end":
            if token.kind == "newline" or (token.kind == "mark" and token.text == ";"):
                continue
            if token.kind != "name":
                self._refuse("NAME = VALUE", token.text, token.line)
            operator = self._next()
            if operator.text not in ("=", "+="):
                self._refuse(f"= behind {token.text}", operator.text, operator.line)
            value = self._value()
            before = so_far.get(token.text)
            if operator.text == "+=" and before is not None:
                value = self._sum(before, value, token)
            so_far[token.text] = value
            yield token.text, value
            end = self._next()
            if end.kind != "newline" and end.text != ";":
                self._refuse("the end of the line", end.text, end.line)

    def _sum(self, before: Value, added: Value, token: _Token) -> Value:
        if isinstance(added, str) and isinstance(before, str):
            return before + added
        if isinstance(added, tuple) and isinstance(before, tuple):
            return (*before, *added)
        return self._refuse("what is added to be a string or a list as before", token.text, token.line)

    def _value(self) -> Value:
        token = self._next()
        if token.kind == "string":
            return self._dequoted(token)
        if token.kind == "number":
            return token.text
        if token.kind != "mark" or token.text != "[":
            self._refuse("a string in quotes, a number or a list", token.text, token.line)
        values: list[Value] = []
        self._newlines()
        while not self._peek("]"):
            values.append(self._value())
            self._newlines()
            if not self._peek(",", "]"):
                wrong = self._next()
                self._refuse(", or ] in a list", wrong.text, wrong.line)
            if self._peek(","):
                self._next()
                self._newlines()
        self._next()
        return tuple(values)

    def _newlines(self) -> None:
        while self._tokens[self._at].kind == "newline":
            self._at += 1

    def _dequoted(self, token: _Token) -> str:
        def plain(match: re.Match[str]) -> str:
            if match[1] in ("'", '"', "\\"):
                return match[1]
            if match[1] in _ESCAPES:
                return _ESCAPES[match[1]]
            # Numbers are in xl's grammar too, but come out as nothing (xlu__cfgl_dequote up to Xen 4.22).
            return self._refuse("an escape that xl understands", match[0], token.line)

        return _ESCAPE.sub(plain, token.text[1:-1])
