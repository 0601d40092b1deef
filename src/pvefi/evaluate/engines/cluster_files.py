# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends files to the workers of a Dask cluster by their hash, each to each once, and asks workers things."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pvefi.evaluate.engines.cluster_worker import keep_piece, lacking
from pvefi.evaluate.task import FileRef
from pvefi.trace.spelling import escaped

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["FileError", "FileSender", "asked", "words_of"]

_PIECE_SIZE = 16 << 20  # bytes of a file that travel at once
_ANSWER_SECONDS = 60.0
"""How long a worker may take to answer, and to keep a piece of a file."""
_WORDS_AT_MOST = 300  # characters of others' messages


class FileError(Exception):
    """A file on this host is not what it was."""


class FileSender:
    """Sends `files`, a path for each SHA-256, to workers that lack them; `run` is a name of its own."""

    def __init__(self, files: Mapping[str, Path], run: str) -> None:
        self._files, self._run = files, run

    async def place(self, client: Client, file: FileRef, workers: Sequence[str]) -> dict[str, str]:
        """See to it that `workers` have a file; return why one cannot be used, by its address.

        FileError when the file on this host is not what it was.
        """
        answers = await asked(client, lacking, workers, [file.sha256])  # a worker lets go of files, too
        lack = [address for address, answer in answers.items() if answer == [file.sha256]]
        refused = {address: str(answer) for address, answer in answers.items() if isinstance(answer, str)}
        ends = await asyncio.gather(*(self._send(client, address, file) for address in lack))
        return refused | {address: why for address, why in zip(lack, ends, strict=True) if why}

    async def _send(self, client: Client, address: str, file: FileRef) -> str:
        """Send a file to one worker; return why that cannot be, "" when it is there."""
        offset, digest = 0, hashlib.sha256()
        try:
            with self._files[file.sha256].open("rb") as stream:
                while True:
                    piece = await asyncio.to_thread(stream.read, min(_PIECE_SIZE, file.size - offset))
                    digest.update(piece)
                    offset += len(piece)
                    ends = offset == file.size
                    if (ends and digest.hexdigest() != file.sha256) or not (ends or piece):
                        raise FileError(f"{file.name}: its contents changed after the evaluation began")
                    words = (file, self._run, offset - len(piece), piece)
                    answer = (await asked(client, keep_piece, [address], *words)).get(address)
                    if ends or answer is not None:
                        return "" if answer is None else str(answer)
        except OSError as error:
            raise FileError(f"{file.name}: it cannot be read any more: {error.strerror}") from None


async def asked(
    client: Client, function: Callable[..., object], workers: Sequence[str], *words: object
) -> dict[str, object]:
    """Return what `function` says on each of `workers`, by address: an exception in words.

    A worker that is gone has no answer; that it does not answer is said in words, too.
    """
    answers = await asyncio.gather(*(_asked(client, function, worker, words) for worker in workers))
    return {address: answer for one in answers for address, answer in one.items()}


async def _asked(
    client: Client, function: Callable[..., object], worker: str, words: Sequence[object]
) -> dict[str, object]:
    from distributed.comm.core import CommClosedError

    running = client.run(function, *words, workers=[worker], on_error="return")
    try:
        answers: Mapping[str, object] = await asyncio.wait_for(running, _ANSWER_SECONDS)
    except TimeoutError:
        return {worker: f"no answer for {_ANSWER_SECONDS:.0f} s"}
    return {
        address: words_of(answer) if isinstance(answer, Exception) else answer
        for address, answer in answers.items()
        if not isinstance(answer, CommClosedError)
    }


def words_of(error: BaseException | object) -> str:
    """Return what an exception says, in one line that is safe to show."""
    text = " ".join(str(error).split()) or type(error).__name__
    return escaped(text)[:_WORDS_AT_MOST]
