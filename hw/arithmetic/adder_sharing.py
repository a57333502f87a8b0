"""Search of full adders that several sums share.

Each row is a sum of bits. A full adder of three bits that stand together in many rows replaces
them there by its sum and, of twice the weight, its carry. The search is greedy, weight by weight:
it takes the triple that stands together in the most rows, until none does in two of them.
"""

import hashlib
import heapq
import io
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

from xnorflow.cache import cache_folder
from xnorflow.files import make_folder, write_atomically
from xnorflow.hw.arithmetic.adder_netlist import AdderNetlist


__all__ = ["SharedAdders", "share_adders"]

_VERSION = 1
"""Of the search: a result in the cache is of the same one."""

_PENALTY = 0.1
"""Rows less that a triple is worth, for each row that has a part of it only."""

_EFFORT = 1 << 17
"""Inputs times rows of all searches together, of random order among equals; a second takes 16k."""

_MOST_SEARCHES = 40

_KEPT_FROM = 1024
"""Inputs times rows from which on a result is kept on disk."""


@dataclass(frozen=True, eq=False)
class SharedAdders:
    """Full adders, and what is left of each row.

    Bits 0…inputs − 1 are the inputs, ``inputs + 2 * k`` and the next one sum and carry of adder k.

    Attributes
    ----------
    inputs : :class:`int`
    adders : array of int, (adders, 3)
        Bits that each adds, all of one weight; it comes after those that deliver them.
    rows : tuple of tuple of (:class:`int`, :class:`int`)
        Weights, as powers of two, and bits whose sum each row is.
    """

    inputs: int
    adders: np.ndarray
    rows: tuple[tuple[tuple[int, int], ...], ...]

    def add_to(self, netlist):
        """Add the adders to a netlist, and give the literals of each row with their powers."""
        literals = [2 * bit for bit in range(self.inputs)]
        for bits in self.adders:
            a, b, c = (literals[bit] for bit in bits)
            literals += netlist.add([a], [b], c)
        return [[(power, literals[bit]) for power, bit in row] for row in self.rows]

    def coefficients(self):
        """Weights of the inputs in each row, found by undoing the adders one by one.

        Raises
        ------
        :exc:`AssertionError`
            If a row has sum and carry of an adder not as one number.
        """
        bits = self.inputs + 2 * len(self.adders)
        weights = np.zeros((len(self.rows), bits), np.int64)
        for row, terms in zip(weights, self.rows, strict=True):
            for power, bit in terms:
                row[bit] += 1 << power
        for k in range(len(self.adders))[::-1]:
            total, carry = self.inputs + 2 * k, self.inputs + 2 * k + 1
            if not np.array_equal(weights[:, carry], 2 * weights[:, total]):
                raise AssertionError(f"adder {k}: a row has its sum and carry not as one number")
            for bit in self.adders[k]:
                weights[:, bit] += weights[:, total]
        return weights[:, : self.inputs]


def share_adders(rows):
    """Find the full adders that rows share; the result is kept in the user's cache.

    Of several searches, the best is taken; there are the fewer of them, the larger the matrix.

    Parameters
    ----------
    rows : array of bool, (rows, inputs)
        Inputs that each row adds.

    Returns
    -------
    SharedAdders
    """
    rows = np.ascontiguousarray(rows, dtype=bool)
    seeds = max(1, min(_EFFORT // max(1, rows.size), _MOST_SEARCHES))
    if rows.size < _KEPT_FROM:
        found = _best(rows, seeds)
    else:
        key = repr((_VERSION, rows.shape, seeds)).encode() + np.packbits(rows).tobytes()
        folder = make_folder(cache_folder() / "adders")
        path = folder / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"
        found = _read(path)
        if found is None:
            found = _best(rows, seeds)
            _write(path, found)
    if not np.array_equal(found.coefficients(), rows):
        raise AssertionError("shared adders do not add what the rows are")
    return found


def _best(rows, seeds):
    return min((_search(rows, seed) for seed in range(seeds)), key=_cost)


def _cost(found):
    """Cells of all adders, those that add what is left among them."""
    netlist = AdderNetlist(found.inputs)
    terms = found.add_to(netlist)
    width = found.inputs.bit_length()
    return netlist.cells(bit for row in terms for bit in netlist.total(row, width, [], spare=True))


def _read(path):
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            inputs, adders, terms, lengths = (
                file[name] for name in ("inputs", "adders", "terms", "lengths")
            )
    except (OSError, ValueError, KeyError, BadZipFile, EOFError):
        return None
    parts = np.split(terms, np.cumsum(lengths)[:-1])
    rows = tuple(tuple((int(p), int(b)) for p, b in part) for part in parts)
    return SharedAdders(int(inputs), adders, rows)


def _write(path, found):
    content = io.BytesIO()
    terms = np.array([term for row in found.rows for term in row], np.int64).reshape(-1, 2)
    np.savez_compressed(
        content,
        inputs=found.inputs,
        adders=found.adders,
        terms=terms,
        lengths=[len(row) for row in found.rows],
    )
    write_atomically(path, content.getvalue())


def _search(rows, seed):
    """Share adders weight by weight."""
    rng = np.random.default_rng(seed)
    inputs = rows.shape[1]
    adders, left = [], [[] for _ in rows]
    bits, members, power = np.arange(inputs), rows, 0
    while len(bits):
        pool = _Pool(bits, members, rng)
        carries, masks = [], []
        while (triple := pool.best()) is not None:
            number = inputs + 2 * len(adders)
            adders.append([pool.bits[n] for n in triple])
            carries.append(number + 1)
            masks.append(pool.add(triple, number))
        for column, bit in enumerate(pool.bits):
            for row in np.flatnonzero(pool.members[:, column]):
                left[row].append((power, int(bit)))
        bits, power = np.array(carries, int), power + 1
        members = np.array(masks, bool).reshape(len(carries), len(rows)).T
    return SharedAdders(
        inputs, np.array(adders, np.int64).reshape(-1, 3), tuple(tuple(row) for row in left)
    )


class _Pool:
    """Bits of one weight, and the rows that each stands in.

    A triple is looked for at its last bit. Rows leave bits and never join them, so that a value
    that was found for a bit once is a bound: it is counted again only when it comes first.
    """

    def __init__(self, bits, members, rng):
        self.bits = list(bits)
        room = 2 * len(self.bits) + 8
        self._members = np.zeros((len(members), room), np.float32)
        self._members[:, : len(self.bits)] = members
        self._rng = rng
        self._heap = []
        for n in range(2, len(self.bits)):
            self._push(n)

    @property
    def members(self):
        """Whether each row has each bit."""
        return self._members[:, : len(self.bits)]

    def best(self):
        """Take the triple that stands together in the most rows; None if none does in two."""
        while self._heap:
            _, _, last, count, pair = heapq.heappop(self._heap)
            triple = (*pair, last)
            if self._members[:, triple].all(axis=1).sum() == count:
                return triple
            self._push(last)
        return None

    def add(self, triple, number):
        """Replace a triple by the sum of its adder, and give the rows in which that stands."""
        shared = self._members[:, triple].all(axis=1)
        for n in triple:
            self._members[shared, n] = 0
        self.bits.append(number)
        if len(self.bits) > self._members.shape[1]:
            self._members = np.pad(self._members, ((0, 0), (0, len(self.bits))))
        self._members[shared, len(self.bits) - 1] = 1
        for n in (*triple, len(self.bits) - 1):
            self._push(n)
        return shared

    def _push(self, last):
        """Find the best triple that ends with a bit."""
        rows = np.flatnonzero(self._members[:, last])
        if len(rows) < 2:
            return
        with_it = self._members[rows, :last]
        several = np.flatnonzero(with_it.sum(axis=0) >= 2)
        if len(several) < 2:
            return
        others = with_it[:, several]
        together = others.T @ others
        np.fill_diagonal(together, 0)
        most = together.max()
        if most < 2:
            return
        first, second = np.nonzero(together == most)
        keep = first < second
        first, second = first[keep], second[keep]
        # Rows of parts: those of any of the three, but not of all.
        size = self._members[:, several].sum(axis=0)
        common = others.sum(axis=0)
        pieces = size[first] + size[second] - common[first] - common[second]
        pick = np.argmin(pieces + self._rng.random(len(pieces)))
        value = most - _PENALTY * (pieces[pick] + len(rows))
        pair = int(several[first[pick]]), int(several[second[pick]])
        heapq.heappush(self._heap, (-value, self._rng.random(), last, int(most), pair))
