"""Independent pieces of work, on the cores of this machine or those of a Dask scheduler.

Each piece has a key: a digest of all that its result follows from. Results are kept by it, so that
a run that is killed, or asked for again, does no piece twice. A piece that fails is a sentence
beside the results of the others.
"""

import json
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from xnorflow.errors import DesignError, FormatError, ToolError, XnorflowError
from xnorflow.files import make_folder, remove_file, write_atomically


__all__ = ["Outcome", "Workers", "digest", "forget", "run_pieces"]

_PATIENCE = 20
"""Seconds within which a scheduler must answer."""

_ENVIRONMENT = {"OMP_NUM_THREADS": 1}
"""Of the processes of this machine: each has one core. Dask's own also has glibc give back all free
memory (``MALLOC_TRIM_THRESHOLD_``), which costs a training a third of its time in page faults.
"""

Work = Callable[[Any, Any], Any]
"""Makes a JSON value of what all pieces share, and of one. It is a function of a module, since
workers import it."""


@dataclass(frozen=True)
class Workers:
    """Processes that share the work.

    Attributes
    ----------
    count : int, optional
        How many on this machine, one for each core by default. One needs no Dask.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``, whose workers do it instead.
    """

    count: int | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a piece, or the sentence that says why there is none.

    Attributes
    ----------
    key : str
        Of the piece.
    value : JSON value
        None if it failed.
    error : str or None
    lasting : bool
        Whether the same piece would have the same outcome again.
    known : bool
        Whether an earlier run had done it.
    """

    key: str
    value: Any = None
    error: str | None = None
    lasting: bool = True
    known: bool = False


def digest(*parts: bytes | str) -> str:
    """Key of a piece whose result follows from these ``parts``, in this order."""
    found = sha256()
    for part in parts:
        found.update(sha256(part.encode() if isinstance(part, str) else part).digest())
    return found.hexdigest()[:20]


def run_pieces(
    work: Work,
    pieces: Mapping[str, Any],
    *,
    common: Any = None,
    workers: Workers | None = None,
    store: Path | None = None,
) -> Iterator[Outcome]:
    """Do all ``pieces``, and give each outcome as it comes: first those that are known.

    Parameters
    ----------
    work : callable
        Gets ``common`` and a piece.
    pieces : mapping of str to any
        By their keys. They and ``common`` travel to the workers.
    common : any, optional
        What all pieces share, sent once to each worker.
    workers : Workers, optional
        All cores of this machine by default.
    store : Path, optional
        Folder in which results are kept, and those errors that would come again: of designs that
        do not work out.

    Raises
    ------
    ToolError
        If Dask is not installed, or the scheduler does not answer.
    FormatError
        If a result cannot be kept.
    """
    workers = workers or Workers()
    left = dict(pieces)
    if store is not None:
        for key in pieces:
            if (known := _read(store, key)) is not None:
                del left[key]
                yield known
    with ExitStack() as stack:
        count = min(len(left), workers.count or os.cpu_count() or 1)
        found: Iterator[Outcome]
        if workers.scheduler is None and count <= 1:
            found = (_attempt(work, common, key, piece) for key, piece in left.items())
        else:
            client = stack.enter_context(_client(count, workers.scheduler))
            found = _on_dask(client, work, common, left)
        for outcome in found:
            if store is not None and outcome.lasting:
                _write(store, outcome)
            yield outcome


def forget(store: Path, keys: Mapping[str, Any]) -> None:
    """Remove the results with these keys."""
    for key in keys:
        remove_file(store / f"{key}.json")


def _attempt(work: Work, common: Any, key: str, piece: Any) -> Outcome:
    try:
        return Outcome(key, work(common, piece))
    except XnorflowError as error:
        return Outcome(key, error=str(error), lasting=isinstance(error, DesignError))
    except Exception as error:  # a mistake of ours ends no other piece either
        return _failed(key, error)


def _failed(key: str, error: BaseException) -> Outcome:
    said = f"{type(error).__name__}: {error}"
    if type(error).__name__ == "KilledWorker":
        said = "the processes that worked on it were killed: memory may be short"
    return Outcome(key, error=said, lasting=False)


def _on_dask(client: Any, work: Work, common: Any, pieces: Mapping[str, Any]) -> Iterator[Outcome]:
    from distributed import as_completed

    (shared,) = client.scatter([common], broadcast=True, hash=False)
    # Keys of Dask are of this run, so that no two clients of a scheduler share a future.
    futures = {
        client.submit(_attempt, work, shared, key, piece, pure=False): key
        for key, piece in pieces.items()
    }
    for future in as_completed(futures, loop=client.loop):
        # It fails where the worker itself does: it was killed, or cannot import the work. After a
        # pause of all processes, Dask may have forgotten it.
        try:
            outcome = future.result()
        except Exception as error:
            outcome = _failed(futures[future], error)
        yield outcome
        future.release()


@contextmanager
def _client(count: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the scheduler, or of so many processes of this machine."""
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise ToolError(
            "several workers need Dask: `pip install 'xnorflow[cluster]'`, or give --workers 1"
        ) from None
    with ExitStack() as stack:
        place: Any = scheduler
        if scheduler is None:
            stack.enter_context(config.set({"distributed.nanny.pre-spawn-environ": _ENVIRONMENT}))
            # Any port of this machine alone: several runs have a cluster each.
            place = LocalCluster(
                n_workers=count, threads_per_worker=1, memory_limit=None,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
            )  # fmt: skip
            stack.enter_context(place)
        try:
            client = Client(place, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, ImportError):
            raise ToolError(f"no Dask scheduler answers at {scheduler}") from None
        stack.enter_context(client)
        if scheduler is None:
            client.run(_leave_interrupts)
        yield client


def _leave_interrupts() -> None:
    """Let Ctrl-C end what a worker has started, but leave the worker to the cluster's own end."""
    signal.signal(signal.SIGINT, lambda *_: None)


def _read(store: Path, key: str) -> Outcome | None:
    """What is known of a piece; nothing if the file is missing or damaged."""
    try:
        content = json.loads((store / f"{key}.json").read_text(encoding="utf-8"))
        return Outcome(key, content["value"], content["error"], known=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(store: Path, outcome: Outcome) -> None:
    content = json.dumps({"value": outcome.value, "error": outcome.error})
    try:
        write_atomically(make_folder(store) / f"{outcome.key}.json", content.encode())
    except FormatError as error:
        raise FormatError(f"results cannot be kept: {error}") from None
