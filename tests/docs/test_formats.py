# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field of a trace and of a JSON document is named on the page that describes it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path

from bench.figures import figures_of, to_json
from build_docs import DOCS
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import Variable
from pvefi.image import inspect
from pvefi.layout import Guid
from pvefi.report import boot as boot_report
from pvefi.report.doctor_json import doctor_to_json
from pvefi.report.handoff_diff_text import diff_to_json as handoff_diff_to_json
from pvefi.report.inspect_json import inspect_to_json
from pvefi.report.variables import export_to_json, variables_to_json
from pvefi.spec.uefi import device_path
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE
from pvefi.spec.uefi.load_option import LoadOption
from pvefi.spec.uefi.signature_list import CERT_SHA256
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.diff import diff_traces
from pvefi.trace.diff_json import diff_to_json as trace_diff_to_json
from pvefi.trace.events import Address, CallEvent
from pvefi.trace.jsonl import Trace, TraceHeader, TraceWriter, trace_to_json
from pvefi.trace.jsonl import read_trace as read
from pvefi.trace.summary import summarize
from pvefi.trace.summary import to_json as summary_to_json
from pvefi.trace.values import value_to_json
from pvefi.verdict import Outcome, Verdict
from tests.bench.made import samples
from tests.build.bzimage import build_bzimage
from tests.report.diffs import compare
from tests.report.findings import FINDINGS
from tests.report.made import CALLS, result

# Their keys are names of other documents: registers, boot_params, setup header, arguments, PE directories.
FOREIGN = ("registers", "fields", "meanings", "header", "arguments", "outputs", "directories")
# Parts of parts, whose names say all there is to say.
PLAIN = ("load_segments", "sections", "compat", "entry_code", "kernel_info", "type", "last")


def keys(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key not in FOREIGN + PLAIN:
                yield from keys(value)
    elif isinstance(document, list):
        for value in document:
            yield from keys(value)


def unnamed(page: str, wanted: Iterable[str]) -> set[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return {key for key in wanted if f"`{key}`" not in text}


def test_the_trace_s_page_names_every_field() -> None:
    wanted = [field.name for kind in (TraceHeader, CallEvent) for field in fields(kind)]
    assert not unnamed("trace-format.md", [*wanted, "schema", "version", "end", "message"])


def test_the_trace_s_page_names_every_outcome() -> None:
    assert not unnamed("trace-format.md", [outcome.value for outcome in Outcome])


def test_the_trace_s_page_shows_a_guid_as_it_is_written() -> None:
    text = (DOCS / "trace-format.md").read_text(encoding="utf-8")
    made = value_to_json(Guid.parse("607f766c-7455-42be-930b-e4d76db2720f"))
    assert json.dumps(made) in text


def test_the_boot_document_s_page_names_every_field() -> None:
    assert not unnamed("json-documents.md", keys(boot_report.to_json(result())))


def test_the_inspect_document_s_page_names_every_field(tmp_path: Path) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(build_bzimage())
    assert not unnamed("json-documents.md", keys(inspect_to_json([inspect(path)], [])))


def test_the_variables_document_s_page_names_every_field() -> None:
    option = LoadOption(1, "Debian", device_path.END)
    signature = struct.pack("<16sIII16s32s", CERT_SHA256.wire, 28 + 48, 0, 48, bytes(16), bytes(32))
    variables = [
        Variable("Boot0000", GLOBAL_VARIABLE, VariableAttribute(7), option.pack()),
        Variable("db", IMAGE_SECURITY_DATABASE, VariableAttribute(7), signature, bytes(range(16))),
    ]
    document = variables_to_json(Path("vars.fd"), variables, MemoryStore().capacity())
    assert {"active", "owner"} <= set(keys(document))
    assert not unnamed("json-documents.md", {*keys(document), *keys(export_to_json(variables))})


def test_the_trace_documents_page_names_every_field(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with TraceWriter(path, TraceHeader("vmlinuz")) as trace:
        trace.end(Verdict(Outcome.HANDOFF, "there"))
    header = {field.name for field in fields(TraceHeader)}
    told = set(keys(trace_to_json(read(path)))) - header - {"end", "message"}
    assert not unnamed("json-documents.md", {*told, *keys(summary_to_json(summarize(CALLS)))})


def test_the_bench_document_s_page_names_every_field() -> None:
    machine = {"cpu": "", "cores": 1, "load": 0.0, "system": "", "python": "", "unicorn": ""}
    image = {"file": "vmlinuz", "size": 1, "sha256": ""}
    assert not unnamed("json-documents.md", keys(to_json(machine, image, figures_of(samples()))))


def test_the_trace_diff_document_s_page_names_every_field() -> None:
    header = TraceHeader("vmlinuz")
    calls = [
        replace(CALLS[0], arguments=(("Handle", value),), outputs=(("Interface", Address(5)),))
        for value in (1, 2)
    ]
    a, b = (Trace(replace(header, seed=at), (call, *CALLS[1:][at:]), None) for at, call in enumerate(calls))
    document = trace_diff_to_json(diff_traces(a, b), ("a", "b"))
    known = {field.name for kind in (TraceHeader, CallEvent) for field in fields(kind)}
    assert not unnamed("json-documents.md", set(keys(document)) - known)
    assert not unnamed("json-documents.md", ["equal", "only in a", "only in b", "changed", "given_by"])


def test_the_handoff_diff_document_s_page_names_every_field() -> None:
    diff = compare({}, {"command_line": "nokaslr"})
    document = handoff_diff_to_json(diff)
    sections = {row.section.removesuffix(" by type") for row in diff.rows}
    wanted = {key for key in keys(document) if key not in {row.section for row in diff.rows}}
    assert not unnamed("json-documents.md", [*wanted, *sections])


def test_the_doctor_document_s_page_names_every_field() -> None:
    assert not unnamed("json-documents.md", keys(doctor_to_json(FINDINGS)))
