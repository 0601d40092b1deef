# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings Debian bookworm packages to any Debian machine through an apt root of its own.

The machine's sources and settings are read, never changed: its Debian mirror, its proxy and its keyring are
what the private root uses. No package is installed and no maintainer script runs.
Standard library only, Python >= 3.11.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

__all__ = [
    "ArchiveError",
    "Download",
    "Mirror",
    "PrivateRoot",
    "Source",
    "choose_mirror",
    "parse_deb822",
    "parse_one_line",
]

RELEASE = "bookworm"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
SCHEMES = frozenset(
    {"http", "https", "ftp", "file", "copy", "mirror", "mirror+file", "mirror+http", "mirror+https"}
)
DEBIAN_SUITE = re.compile(
    r"(buster|bullseye|bookworm|trixie|forky|duke|sid|oldstable|stable|testing|unstable)"
    r"(-updates|-security|/updates|-backports|-proposed-updates)?"
)
LISTS_ARE_FRESH_SECONDS = 24 * 3600
APT_SECONDS = 600

CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear Acquire::Languages;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages {{ "none"; }};
Acquire::PDiffs "false";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}";
Dir::Cache::archives "{root}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


class ArchiveError(Exception):
    """A package that cannot be had; one line that says what is missing and the way out."""


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of the machine's apt sources."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where one archive comes from, and the key that signs it (empty: Debian's own keyring)."""

    uri: str
    signed_by: str = ""
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """A package file as the archive describes it; `path` is where it stands once fetched."""

    package: str
    file_name: str
    size: int
    path: Path


def parse_one_line(text: str) -> list[Source]:
    """Return the `deb` entries of a sources.list (sources.list(5), one-line style)."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)", line.split("#")[0])
        if match:
            options, uri, suite, components = match.groups()
            pairs = (word.partition("=") for word in (options or "").split() if "=" in word)
            found.append(
                Source(
                    (uri,),
                    (suite,),
                    tuple(components.split()),
                    {key.lower(): value for key, _, value in pairs},
                )
            )
    return found


def parse_deb822(text: str) -> list[Source]:
    """Return the enabled `deb` stanzas of a .sources file (sources.list(5), deb822 style)."""
    found = []
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in (
            "no",
            "false",
        ):
            uris, suites = fields.get("uris", "").split(), fields.get("suites", "").split()
            found.append(
                Source(tuple(uris), tuple(suites), tuple(fields.get("components", "").split()), fields)
            )
    return found


def choose_mirror(sources: Iterable[Source], *, security: bool) -> Mirror | None:
    """Return the Debian mirror that the machine is set up to use, or None when it names none.

    Third-party archives use Debian's suite names too; they differ by key and by address.
    """
    best, best_score = None, 1
    for source in sources:
        suites = [suite.rstrip("/") for suite in source.suites if DEBIAN_SUITE.fullmatch(suite.rstrip("/"))]
        suites = [suite for suite in suites if suite.endswith(("-security", "/updates")) == security]
        if not suites or "main" not in source.components:
            continue
        signed_by = source.options.get("signed-by", "")
        key_file = signed_by if signed_by.startswith("/") else ""
        for uri in source.uris:
            parts = urlsplit(uri)
            if parts.scheme not in SCHEMES:
                continue
            named = "debian" in parts.path.lower() or (parts.hostname or "").endswith("debian.org")
            score = (
                4 * ("debian-archive" in signed_by) + 2 * named + any(s.startswith(RELEASE) for s in suites)
            )
            if score > best_score:
                trusted = source.options.get("trusted", "no").lower() in ("yes", "true")
                best, best_score = Mirror(uri.rstrip("/"), key_file, trusted), score
    return best


def _machine_sources() -> list[Source]:
    command = ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    paths = dict(word.split("=", 1) for word in shlex.split(answer) if "=" in word)
    listing = Path(paths.get("LIST", "/etc/apt/sources.list"))
    parts = Path(paths.get("PARTS", "/etc/apt/sources.list.d"))
    files = [listing, *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    found: list[Source] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found += parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)
    return found


def _keyring() -> str:
    for keyring in KEYRINGS:
        if Path(keyring).is_file():
            return keyring
    raise ArchiveError("the Debian archive's keyring is missing (apt-get install debian-archive-keyring)")


def source_list(main: Mirror, security: Mirror, keyring: Callable[[], str] = _keyring) -> str:
    """Return the private root's sources.list: bookworm, its updates and its security updates."""
    lines = []
    for mirror, suite in ((main, RELEASE), (main, f"{RELEASE}-updates"), (security, f"{RELEASE}-security")):
        trust = "trusted=yes" if mirror.trusted else f"signed-by={mirror.signed_by or keyring()}"
        # target=Packages: whatever else the machine lets apt fetch (AppStream, Contents) is of no use here
        lines.append(f"deb [arch=amd64 {trust} target=Packages] {mirror.uri} {suite} main\n")
    return "".join(lines)


def _version_key(name: str) -> list[tuple[int, str]]:
    return [(int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d*)", name)]


def newest(names: Iterable[str]) -> str | None:
    """Return the name with the highest version in it: numbers compare as numbers."""
    return max(names, key=_version_key, default=None)


class PrivateRoot:
    """An apt root under `folder`, for bookworm on amd64, whatever the machine itself is."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._updated_now = False

    def resolve(self, package: str, how: str) -> str:
        """Return the real package: `exact` itself, what a `meta` package needs, or a pattern's `newest`."""
        self.update()
        if how == "exact":
            return package
        if how == "meta":
            answer = self._apt_cache("depends", "--important", package)
            family = "-".join(package.split("-")[:2])
            real = [name for name in re.findall(r"Depends: (\S+)", answer) if name.startswith(family)]
            wanted = newest(real)
        else:
            names = self._apt_cache("pkgnames", re.split(r"[\\.*+\[(]", package)[0]).split()
            wanted = newest(name for name in names if re.fullmatch(package, name))
        if wanted is None:
            raise ArchiveError(f"the {RELEASE} archive has no package {package}")
        return wanted

    def download(self, package: str, folder: Path, progress: Callable[[int, int], None]) -> Download:
        """Fetch the package file of `package` into `folder`; apt checks its hash against the signed lists."""
        answer = self._apt_get("download", "--print-uris", package, folder=folder)
        match = re.search(r"^'[^']*' (\S+) (\d+) \S+$", answer, re.MULTILINE)
        if not match:
            raise ArchiveError(f"the {RELEASE} archive has no package {package}")
        wanted = Download(package, match[1], int(match[2]), folder / match[1])

        def tick() -> None:
            progress(
                sum(file.stat().st_size for file in folder.glob("*.deb*") if file.is_file()), wanted.size
            )

        try:
            self._apt_get("download", package, folder=folder, tick=tick)
        except ArchiveError:
            # A package list can name a file that the archive has replaced since.
            if self._updated_now:
                raise
            self.update(again=True)
            return self.download(package, folder, progress)
        if not wanted.path.is_file():
            raise ArchiveError(f"apt-get download {package} left no {wanted.file_name}")
        return wanted

    def update(self, *, again: bool = False) -> None:
        """Fetch the package lists, unless they are of today."""
        stamp = self._folder / "updated"
        with_sources = self._prepare()
        current = stamp.exists() and stamp.read_text() == with_sources
        if not again and current and 0 <= time.time() - stamp.stat().st_mtime < LISTS_ARE_FRESH_SECONDS:
            return
        if self._updated_now:
            return
        main = with_sources.split("] ")[1].split()[0]
        self._say(f"reading the package lists of Debian {RELEASE} from {main}")
        try:
            self._apt_get("update")
        except ArchiveError:
            # The security or updates suite may be missing from a mirror; the release itself must be there.
            if not any(self._folder.glob(f"lists/*_dists_{RELEASE}_main_binary-amd64_Packages*")):
                raise
            self._say("a part of the archive did not answer; going on with what did")
        self._updated_now = True
        stamp.write_text(with_sources)

    def _prepare(self) -> str:
        for tool in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise ArchiveError(f"{tool} is missing: real packages are fetched by Debian's apt")
        for folder in ("lists/partial", "archives/partial"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        (self._folder / "apt.conf").write_text(CONFIGURATION.format(root=self._folder))
        main, security = _mirrors(os.environ.get("PVEFI_DEBIAN_MIRROR", ""))
        text = source_list(main, security)
        (self._folder / "sources.list").write_text(text)
        return text

    def _apt_cache(self, *words: str) -> str:
        return self._run(["apt-cache", "-c", f"{self._folder}/apt.conf", *words], self._folder, None)

    def _apt_get(
        self, *words: str, folder: Path | None = None, tick: Callable[[], None] | None = None
    ) -> str:
        command = ["apt-get", "-q", "-c", f"{self._folder}/apt.conf", *words]
        return self._run(command, folder or self._folder, tick)

    def _run(self, command: list[str], folder: Path, tick: Callable[[], None] | None) -> str:
        environment = os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        deadline = time.monotonic() + APT_SECONDS
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as running:
            try:
                while True:
                    try:
                        output, errors = running.communicate(timeout=0.2)
                        break
                    except subprocess.TimeoutExpired:
                        if tick:
                            tick()
                        if time.monotonic() > deadline:
                            raise ArchiveError(f"{' '.join(command[:1])} took over {APT_SECONDS} s") from None
            except BaseException:
                running.kill()
                raise
        if running.returncode:
            complaints = [line for line in errors.splitlines() if line.startswith(("E:", "W:", "Err:"))]
            reason = complaints[0][3:].strip() if complaints else f"exit status {running.returncode}"
            verb = next(word for word in command[command.index("-c") + 2 :] if not word.startswith("-"))
            raise ArchiveError(f"{command[0]} {verb}: {reason}")
        return output


@functools.cache
def _mirrors(given: str) -> tuple[Mirror, Mirror]:
    if given:
        return Mirror(given.rstrip("/")), Mirror(f"{given.rstrip('/')}-security")
    sources = _machine_sources()
    main = choose_mirror(sources, security=False) or Mirror(DEFAULT_MIRROR)
    return main, choose_mirror(sources, security=True) or Mirror(DEFAULT_SECURITY)
