# SPDX-License-Identifier: GPL-2.0-or-later
"""How the private apt root finds the machine's Debian mirror among its sources."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import debian_archive
from debian_archive import (
    ArchiveError,
    Mirror,
    PrivateRoot,
    Source,
    choose_mirror,
    newest,
    parse_deb822,
    parse_one_line,
    source_list,
)

ARCHIVE_KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"

DEB822 = f"""\
# the release, and what comes after it
Types: deb deb-src
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main non-free-firmware
Signed-By: {ARCHIVE_KEY}

Types: deb
URIs: http://mirror.example.org/debian-security/
Suites: bookworm-security
Components: main
Signed-By: {ARCHIVE_KEY}

Types: deb-src
URIs: http://sources.example.org/debian
Suites: bookworm
Components: main

Types: deb
Enabled: no
URIs: http://off.example.org/debian
Suites: bookworm
Components: main
"""

EMBEDDED_KEY = """\
Types: deb
URIs: https://deb.example.com/tools
 https://two.example.com/tools
Suites: stable
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xsFNBF
 -----END PGP PUBLIC KEY BLOCK-----
"""

ONE_LINE = """\
# deb http://commented.example.org/debian bookworm main
deb cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_ - Official amd64 DVD]/ bookworm main
deb http://ftp.example.org/debian/ bookworm main contrib # the nearest
deb-src http://ftp.example.org/debian/ bookworm main
deb [ arch=amd64 signed-by=/etc/apt/keyrings/x.gpg ] https://x.example.com/linux/debian bookworm stable
deb [trusted=yes] http://ftp.example.org/debian-security bookworm-security main
"""


def test_deb822_stanzas_that_are_enabled_and_binary_are_found() -> None:
    assert [(source.uris, source.suites, source.components) for source in parse_deb822(DEB822)] == [
        (
            ("http://mirror.example.org/debian",),
            ("bookworm", "bookworm-updates"),
            ("main", "non-free-firmware"),
        ),
        (("http://mirror.example.org/debian-security/",), ("bookworm-security",), ("main",)),
    ]


def test_deb822_fields_go_on_over_indented_lines() -> None:
    (source,) = parse_deb822(EMBEDDED_KEY)
    assert source.uris == ("https://deb.example.com/tools", "https://two.example.com/tools")
    assert source.options["signed-by"].startswith("\n-----BEGIN PGP")


def test_one_line_entries_are_found_with_their_options() -> None:
    sources = parse_one_line(ONE_LINE)
    assert Source(("http://ftp.example.org/debian/",), ("bookworm",), ("main", "contrib")) in sources
    assert {source.options.get("signed-by") for source in sources} == {None, "/etc/apt/keyrings/x.gpg"}
    assert not any("commented" in uri for source in sources for uri in source.uris)


@pytest.mark.parametrize("text", ["", "\n\n", "Types", ": :\n:", " continued\n", "Types: deb", "\0"])
def test_files_that_make_no_sense_name_no_mirror(text: str) -> None:
    for sources in (parse_deb822(text), parse_one_line(text)):
        assert choose_mirror(sources, security=False) is None


def test_the_machines_mirrors_are_chosen_for_release_and_security() -> None:
    sources = parse_deb822(DEB822)
    assert choose_mirror(sources, security=False) == Mirror("http://mirror.example.org/debian", ARCHIVE_KEY)
    assert choose_mirror(sources, security=True) == Mirror(
        "http://mirror.example.org/debian-security", ARCHIVE_KEY
    )


def test_a_cd_is_no_mirror_and_trust_is_kept() -> None:
    sources = parse_one_line(ONE_LINE)
    assert choose_mirror(sources, security=False) == Mirror("http://ftp.example.org/debian")
    assert choose_mirror(sources, security=True) == Mirror(
        "http://ftp.example.org/debian-security", trusted=True
    )


@pytest.mark.parametrize(
    "line",
    [
        "deb https://apt.example.com bookworm main",
        "deb https://download.example.com/linux/debian bookworm stable",
        "deb https://packages.example.com/apt cloud-sdk-bookworm main",
        "deb http://apt.example.org/pub/debian bookworm-pgdg main",
        "deb http://archive.ubuntu.com/ubuntu jammy main",
        "deb cdrom:[Debian]/ bookworm main",
    ],
)
def test_archives_of_others_are_no_debian_mirror(line: str) -> None:
    assert choose_mirror(parse_one_line(line), security=False) is None


def test_the_archive_that_carries_debians_key_wins() -> None:
    text = (
        "deb http://x.example.com/debian bookworm main\n"
        f"deb [signed-by={ARCHIVE_KEY}] http://y.example.com/d trixie main"
    )
    chosen = choose_mirror(parse_one_line(text), security=False)
    assert chosen == Mirror("http://y.example.com/d", ARCHIVE_KEY)


def test_a_newer_release_lends_its_mirror_for_bookworm() -> None:
    main = choose_mirror(parse_one_line("deb http://deb.debian.org/debian trixie main"), security=False)
    assert main is not None
    text = source_list(main, Mirror("http://s.example.org/debian-security"), lambda: ARCHIVE_KEY)
    assert text.splitlines()[0] == (
        f"deb [arch=amd64 signed-by={ARCHIVE_KEY} target=Packages] http://deb.debian.org/debian bookworm main"
    )
    assert [line.split()[-2] for line in text.splitlines()] == [
        "bookworm",
        "bookworm-updates",
        "bookworm-security",
    ]


def test_a_mirror_with_its_own_key_or_trust_keeps_it() -> None:
    text = source_list(Mirror("http://a/debian", "/k.gpg"), Mirror("http://b/debian-security", trusted=True))
    assert "signed-by=/k.gpg" in text
    assert "trusted=yes" in text.splitlines()[2]


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["linux-image-6.1.0-9-amd64", "linux-image-6.1.0-10-amd64"], "linux-image-6.1.0-10-amd64"),
        (["linux-image-6.12.9+deb12-a", "linux-image-6.12.107+deb12-a"], "linux-image-6.12.107+deb12-a"),
        ([], None),
    ],
)
def test_versions_compare_as_numbers(names: list[str], best: str | None) -> None:
    assert newest(names) == best


def test_without_apt_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArchiveError, match="apt-get is missing"):
        PrivateRoot(tmp_path / "apt", print).resolve("efitools", "exact")


def test_without_debians_keyring_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_archive, "KEYRINGS", ())
    with pytest.raises(ArchiveError, match="apt-get install debian-archive-keyring"):
        source_list(Mirror("http://a/debian"), Mirror("http://b/debian-security"))


FAKE_APT = """\
#!/bin/sh
echo "$0 $*" >>"$(dirname "$0")/calls"
case "$*" in
*update*) {update} ;;
*--print-uris*) echo "'http://x/p.deb' p_1%3a2_amd64.deb 5 SHA256:0" ;;
*download*) {download} ;;
esac
"""


@pytest.fixture
def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder, first on PATH, for programs that stand in for apt's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-cache", "apt-config", "dpkg-deb"):
        put(folder / name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PVEFI_DEBIAN_MIRROR", "http://mirror.example.org/debian/")
    monkeypatch.setattr(debian_archive, "KEYRINGS", (str(folder / "apt-cache"),))
    return folder


def put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_the_lists_are_read_once_a_day(fake_apt: Path, tmp_path: Path) -> None:
    put(fake_apt / "apt-get", FAKE_APT.format(update=":", download=":"))
    said: list[str] = []
    for _ in range(2):
        PrivateRoot(tmp_path / "apt", said.append).update()
    assert (fake_apt / "calls").read_text().count("update") == 1
    assert said == ["reading the package lists of Debian bookworm from http://mirror.example.org/debian"]
    stamp = tmp_path / "apt" / "updated"
    os.utime(stamp, (0, 0))
    PrivateRoot(tmp_path / "apt", said.append).update()
    assert (fake_apt / "calls").read_text().count("update") == 2


def test_a_mirror_given_by_name_serves_security_too(fake_apt: Path, tmp_path: Path) -> None:
    put(fake_apt / "apt-get", FAKE_APT.format(update=":", download=":"))
    PrivateRoot(tmp_path / "apt", print).update()
    text = (tmp_path / "apt" / "sources.list").read_text()
    assert "http://mirror.example.org/debian bookworm main" in text
    assert "http://mirror.example.org/debian-security bookworm-security main" in text


def test_an_unreachable_archive_is_one_line_with_apts_reason(fake_apt: Path, tmp_path: Path) -> None:
    put(
        fake_apt / "apt-get",
        FAKE_APT.format(update='echo "E: Failed to fetch http://x" >&2; exit 100', download=":"),
    )
    with pytest.raises(ArchiveError, match=r"^apt-get update: Failed to fetch http://x$"):
        PrivateRoot(tmp_path / "apt", print).update()


def test_a_package_file_that_has_gone_makes_it_read_the_lists_again(fake_apt: Path, tmp_path: Path) -> None:
    gone = f'[ -e {fake_apt}/again ] || {{ echo "E: 404" >&2; exit 100; }}'
    put(
        fake_apt / "apt-get",
        FAKE_APT.format(
            update=f"touch {fake_apt}/again", download=f"{gone}; printf 12345 >p_1%3a2_amd64.deb"
        ),
    )
    root = PrivateRoot(tmp_path / "apt", print)
    root.update()
    (fake_apt / "again").unlink()
    root = PrivateRoot(tmp_path / "apt", print)
    fetched = root.download("p", tmp_path, lambda _done, _size: None)
    assert fetched.path.read_bytes() == b"12345"
    assert (fake_apt / "calls").read_text().count("update") == 2


def test_a_download_that_fails_with_fresh_lists_is_given_up(fake_apt: Path, tmp_path: Path) -> None:
    put(fake_apt / "apt-get", FAKE_APT.format(update=":", download='echo "E: 404" >&2; exit 100'))
    root = PrivateRoot(tmp_path / "apt", print)
    root.update()
    with pytest.raises(ArchiveError, match="apt-get download: 404"):
        root.download("p", tmp_path, lambda _done, _size: None)
