# SPDX-License-Identifier: GPL-2.0-or-later
"""The corpus' cache: what is fetched once is checked, kept whole, and needs no network again."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import corpus as corpus_module
from corpus import Corpus, CorpusError, cache_folder, item_named, library_item, main, unpack
from debian_archive import ArchiveError, Download

KERNEL = "boot/vmlinuz-6.1.0-1-cloud-amd64"
FOLDER = "lib/modules/6.1.0-1-cloud-amd64"
MODULES = (
    f"{FOLDER}/modules.builtin",
    f"{FOLDER}/kernel/fs/efivarfs/efivarfs.ko",
    f"{FOLDER}/kernel/drivers/virtio/virtio.ko",
    f"{FOLDER}/kernel/drivers/block/virtio_blk.ko",
)

EFI_MODULE = f"{FOLDER}/kernel/drivers/firmware/efi/efi-pstore.ko"
XEN_MODULE = f"{FOLDER}/kernel/drivers/block/xen-blkfront.ko"


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """Write a Debian package with these files (deb(5)): an ar archive of three members."""
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w:xz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w:xz").close()
    members = {"debian-binary": b"2.0\n", "control.tar.xz": empty.getvalue(), "data.tar.xz": tree.getvalue()}
    out = b"!<arch>\n"
    for name, data in members.items():
        out += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
            + data
            + b"\n" * (len(data) % 2)
        )
    path.write_bytes(out)
    return path


class Archive:
    """Stands in for PrivateRoot: has one package, counts its downloads, can break."""

    def __init__(self) -> None:
        self.downloads = 0
        self.files = {KERNEL: b"kernel", "lib/other": b"other", EFI_MODULE: b"module", XEN_MODULE: b"module"}
        self.files |= dict.fromkeys(MODULES, b"module")
        self.broken = ""

    def resolve(self, package: str, how: str) -> str:
        if self.broken:
            raise ArchiveError(self.broken)
        return "linux-image-6.1.0-1-cloud-amd64" if how == "meta" else package

    def download(self, package: str, folder: Path, progress: Callable[[int, int], None]) -> Download:
        self.downloads += 1
        name = f"{package}_1%3a6.1_amd64.deb"
        path = deb(folder / name, self.files)
        progress(1, path.stat().st_size)
        return Download(package, name, path.stat().st_size, path)


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: Callable[[str], str]) -> Archive:
    tool("dpkg-deb")
    made = Archive()
    monkeypatch.setattr(corpus_module, "PrivateRoot", lambda *_: made)
    monkeypatch.setenv("PVEFI_CACHE", str(tmp_path))
    return made


def test_an_item_is_fetched_once_and_then_found_without_the_archive(archive: Archive, tmp_path: Path) -> None:
    path = Corpus().file("cloud", "boot/vmlinuz-*")
    assert path.read_bytes() == b"kernel"
    assert path == tmp_path / "corpus/cloud/linux-image-6.1.0-1-cloud-amd64_1%3a6.1_amd64" / KERNEL
    archive.broken = "no network"
    assert Corpus().file("cloud") == path
    assert Corpus(offline=True).file("linux-image-cloud-amd64", "vmlinuz-*") == path
    assert archive.downloads == 1


def test_only_the_wanted_files_are_kept(archive: Archive, tmp_path: Path) -> None:
    Corpus().files("cloud")
    kept = [path.name for path in (tmp_path / "corpus" / "cloud").rglob("*") if path.is_file()]
    assert kept == [Path(KERNEL).name]


def test_a_kernel_and_its_modules_come_of_one_package(archive: Archive) -> None:
    (kernel,) = Corpus().files("cloud")
    modules = Corpus(offline=True).files("cloud-modules")
    assert sorted(path.name for path in modules) == sorted(Path(name).name for name in MODULES)
    assert archive.downloads == 1
    corpus = Corpus()
    archive.files[KERNEL] = b"newer"
    corpus.files("cloud-modules", refresh=True)
    assert corpus.file("cloud").read_bytes() == kernel.read_bytes() == b"newer"


def test_the_manifest_records_package_version_and_hashes(archive: Archive, tmp_path: Path) -> None:
    Corpus().files("cloud")
    entry = json.loads((tmp_path / "corpus" / "manifest.json").read_text())["cloud"]
    assert (entry["package"], entry["version"]) == ("linux-image-6.1.0-1-cloud-amd64", "1:6.1")
    assert len(entry["deb_sha256"]) == 64
    assert entry["files"] == {KERNEL: hashlib.sha256(b"kernel").hexdigest()}
    assert Corpus().record("cloud") == entry


@pytest.mark.parametrize("damage", [b"", b"kernek", b"kernel and more"])
def test_a_file_that_has_changed_is_fetched_again(
    archive: Archive, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Corpus().file("cloud")
    path.write_bytes(damage)
    assert Corpus().file("cloud").read_bytes() == b"kernel"
    assert archive.downloads == 2
    assert "is not what was fetched" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cloud": 1}', '{"cloud": {"files": {}}}'])
def test_a_broken_manifest_is_as_none(archive: Archive, tmp_path: Path, text: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "manifest.json").write_text(text)
    assert Corpus().record("cloud").get("version") is None
    assert Corpus().file("cloud").read_bytes() == b"kernel"


def test_a_refresh_looks_for_a_newer_one(archive: Archive) -> None:
    Corpus().files("cloud")
    archive.files[KERNEL] = b"newer"
    (path,) = Corpus().files("cloud", refresh=True)
    assert path.read_bytes() == b"newer"


def test_a_fetch_that_breaks_leaves_nothing_half(archive: Archive, tmp_path: Path) -> None:
    archive.files = {"usr/other": b""}
    with pytest.raises(CorpusError, match=r"has no boot/vmlinuz-\*"):
        Corpus().files("cloud")
    assert not list((tmp_path / "corpus" / "cloud").iterdir())
    assert not (tmp_path / "corpus" / "manifest.json").exists()


def test_what_a_killed_fetch_left_is_cleared_away(archive: Archive, tmp_path: Path) -> None:
    stale = tmp_path / "corpus" / "cloud" / ".part-killed"
    stale.mkdir(parents=True)
    (stale / "half.deb").write_bytes(b"!")
    Corpus().files("cloud")
    assert not stale.exists()


def test_the_archive_is_not_asked_when_offline(archive: Archive) -> None:
    with pytest.raises(CorpusError, match="fetching is switched off"):
        Corpus(offline=True).files("cloud")
    assert archive.downloads == 0


def test_a_pattern_that_names_no_or_several_files_is_refused(archive: Archive) -> None:
    archive.files = {"usr/share/OVMF/A.fd": b"a", "usr/share/ovmf/B.fd": b"b"}
    archive.files["usr/share/ovmf/PkKek-1-snakeoil.key"] = b"of another item of the package"
    with pytest.raises(CorpusError, match=r"names A\.fd, B\.fd"):
        Corpus().file("ovmf", "*.fd")
    with pytest.raises(CorpusError, match="names nothing"):
        Corpus().file("ovmf", "C.fd")
    assert Corpus().file("ovmf", "A.fd").read_bytes() == b"a"


def test_the_members_of_an_item_have_their_paths_in_the_package(archive: Archive) -> None:
    (kernel,) = Corpus().files("cloud")
    assert Corpus().members("cloud") == {KERNEL: kernel}


@pytest.mark.parametrize(
    ("name", "item"), [("libc.so.6", "libc6"), ("libefivar.so.1", "libefivar1"), ("libefivar.so", None)]
)
def test_a_library_is_looked_up_by_the_name_that_programs_know(name: str, item: str | None) -> None:
    found = library_item(name)
    assert (found.name if found else None) == item


def test_an_unknown_item_names_those_there_are() -> None:
    with pytest.raises(CorpusError, match="no 'clout'; it has cloud, amd64"):
        item_named("clout")


def test_paths_out_of_the_package_are_not_written(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("dpkg-deb")
    package = deb(tmp_path / "evil.deb", {"../../evil.efi": b"x", "usr/good.efi": b"y"})
    unpack(package, {tmp_path / "deep" / "er" / "files": ("*.efi",)})
    assert [path.name for path in tmp_path.rglob("*.efi")] == ["good.efi"]


def test_a_file_that_is_no_package_is_an_error(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("dpkg-deb")
    (tmp_path / "x.deb").write_bytes(b"no package")
    with pytest.raises((ArchiveError, tarfile.TarError)):
        unpack(tmp_path / "x.deb", {tmp_path / "files": ("*",)})


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"PVEFI_CACHE": "/a/b"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/pvefi"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/pvefi"),
    ],
)
def test_the_cache_stands_where_the_variables_say(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("PVEFI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_the_command_prints_a_path_and_nothing_else(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["path", "cloud"]) == 0
    assert capsys.readouterr().out.endswith(f"/{KERNEL}\n")
    assert main(["list"]) == 0
    assert "linux-image-6.1.0-1-cloud-amd64 1:6.1" in capsys.readouterr().out
    assert main(["fetch", "cloud", "cloud"]) == 0
    assert archive.downloads == 1


def test_an_archive_out_of_reach_is_one_line_with_the_way_out(
    archive: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.broken = "apt-get update: Could not connect"
    assert main(["path", "cloud"]) == 1
    assert capsys.readouterr().err == (
        "corpus: cannot fetch linux-image-cloud-amd64: apt-get update: Could not connect "
        "(a kernel of your own needs no archive: make boot KERNEL=/path/vmlinuz)\n"
    )


def test_a_cache_that_cannot_be_written_is_one_line(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus").write_text("a file stands here")
    assert main(["path", "cloud"]) == 1
    text = capsys.readouterr().err
    assert "PVEFI_CACHE names another folder" in text
    assert text.count("\n") == 1


def test_two_at_once_fetch_it_once(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    lock = tmp_path / "corpus" / "lock"
    holder = subprocess.Popen(["flock", str(lock), "sleep", "0.3"])
    try:
        Corpus().files("cloud")
    finally:
        holder.wait()
    assert Corpus().file("cloud").exists()
    assert archive.downloads == 1
