"""Weights that come in at run time, where they go, and whether they have got there."""

from collections.abc import Sequence
from functools import reduce
from operator import xor

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.loaded_memory import FOLD_BITS, Contents, folded


__all__ = ["CRC_BYTES", "DIGEST_BYTES", "Loader", "chunk_bytes", "load_layout", "seed_of"]

BYTE = 8
DIGEST_BYTES = 4
"""Of the shape, in front of the rows."""
CRC_BYTES = FOLD_BITS // BYTE
"""Of the CRC that is to be read back, behind them, and of that with which it begins."""

_POLYNOMIAL = 0xEDB88320  # CRC-32 of Ethernet, reflected
_ONES = (1 << FOLD_BITS) - 1

load_layout = data.StructLayout({"data": BYTE, "last": 1})
"""A byte of a load, and whether it is its last one."""


def chunk_bytes(chunk: int, bits: int) -> bytes:
    """A chunk of so many bits as it is sent, so that its last bit comes last."""
    size = -(-bits // BYTE)
    return (chunk << size * BYTE - bits).to_bytes(size, "little")


def seed_of(crc: int, tables: Sequence[Contents]) -> int:
    """What the CRC must begin with, to be ``crc`` when all tables have been read back."""
    words = []
    for n, table in enumerate(tables):
        bits = table.loading.word_bits(table.width)
        folds = [_turned(folded(word, bits), n) for word in table.read_back]
        # Until the first word comes, it is what was read last: with halves, the upper one.
        words.append((folds, folds[int(table.loading.halved)], table.latency + 1))
    cycles = range(_check_cycles(tables))
    states = [
        reduce(xor, (fold[(cycle - late) % len(fold)] if cycle >= late else first
                     for fold, first, late in words))
        for cycle in cycles
    ]  # fmt: skip
    for state in reversed(states):  # back through the register
        crc ^= state
        out = crc >> FOLD_BITS - 1
        crc = ((crc ^ (_POLYNOMIAL if out else 0)) << 1 | out) & _ONES
    return crc


def _check_cycles(tables):
    return max(len(table.read_back) + table.latency + 1 for table in tables)


def _turn(table):
    """By how much a table's words are rotated, so that narrow ones do not come together."""
    return 11 * table % FOLD_BITS


def _turned(word, table):
    turn = _turn(table)
    return (word << turn | word >> FOLD_BITS - turn) & _ONES


class Loader(wiring.Component):
    """Take loads, write them into tables, and read these back, all at the same time.

    A load is a stream of bytes, lowest first: the digest of the shape; the words of all tables,
    each in its chunks, and each chunk in bytes; four bytes with which the CRC begins, and the four
    that it is to be. The last byte is marked. What has another digest is swallowed, and changes
    nothing. Otherwise no frame begins until all are out, and then until a load has ended as it
    should. The CRC is that of what has been read back from the tables, not of what has come. A
    reset ends the load, but does not forget that it was under way.

    A byte takes nine cycles, and reading back one for each word of the longest table.

    Parameters
    ----------
    digest : :class:`bytes`
    tables : list of :class:`Contents`
        In the order in which they come; all have chunks of one width.
    crc : :class:`int`
        CRC of what the tables hold at first.

    Members
    -------
    i : ``In(stream.Signature(load_layout))``
    data, start, move, active, check, clear, leaves :
        As in a `load_signature`, for all tables; ``leaves`` is that of the last one.
    folds : ``In(FOLD_BITS * len(tables))``
        What the tables show, that of the first one lowest.
    hold : ``Out(1)``
        Whether no frame may begin.
    idle : ``In(1)``
        Whether none is under way, and none begins.
    busy : ``Out(1)``
        Whether tables are read back: a load that has come has not ended yet.
    ended : ``Out(1)``
        High for a cycle when a load has ended.
    failed : ``Out(1)``
        Whether the load that has ended last was not as it should be.
    valid : ``Out(1)``
        Whether the tables hold all of a load.
    crc : ``Out(32)``
        CRC of the load that they hold, if they do.
    """

    def __init__(self, digest, tables, *, crc):
        self.digest = digest
        self.tables = list(tables)
        self._crc = crc
        super().__init__({
            "i": In(stream.Signature(load_layout)),
            "data": Out(self.tables[0].loading.chunk),
            "start": Out(1),
            "move": Out(1),
            "active": Out(1),
            "check": Out(1),
            "clear": Out(1),
            "leaves": In(1),
            "folds": In(FOLD_BITS * len(self.tables)),
            "hold": Out(1),
            "idle": In(1),
            "busy": Out(1),
            "ended": Out(1),
            "failed": Out(1),
            "valid": Out(1),
            "crc": Out(FOLD_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        bit = Signal(range(BYTE))
        # What a reset must not touch: it is about the tables, which it does not touch either.
        name = Signal(FOLD_BITS, init=self._crc, reset_less=True)
        dirty = Signal(reset_less=True)
        equal, in_digest, in_rows = Signal(init=1), Signal(init=1), Signal()
        place = Signal(range(2 * CRC_BYTES))  # of a byte: in the digest, in a chunk, or behind
        last, tail, failed = Signal(), Signal(), Signal()
        chunk, chunk_ends = Signal.like(self.data), Signal()
        check, compare, done, ending = Signal(), Signal(), Signal(), Signal()
        one = self.i.p.data.bit_select(bit, 1)
        tail_shifts = Signal()
        crc = self._read_back(m, name[0], tail_shifts, check, compare, done)
        m.d.comb += [
            self.crc.eq(name),
            self.valid.eq(~dirty),
            self.data.eq(chunk),
            self.check.eq(check),
            self.active.eq(in_rows | check),
            self.busy.eq(check | compare | ending),
            chunk_ends.eq(place == -(-len(chunk) // BYTE) - 1),
            tail.eq(~in_digest & ~in_rows),
            last.eq(self.i.p.last),
        ]

        m.d.sync += self.ended.eq(0)
        with m.FSM() as fsm:
            m.d.comb += self.hold.eq(dirty | fsm.ongoing("Drain"))
            m.d.comb += [check.eq(fsm.ongoing("Check")), compare.eq(fsm.ongoing("Compare"))]
            m.d.comb += ending.eq(fsm.ongoing("End"))
            with m.State("Shift"):
                with m.If(self.i.valid):
                    m.d.sync += [bit.eq(bit + 1), chunk.eq(Cat(chunk[1:], one))]
                    with m.If(in_digest & (one != self._digest_bit(place, bit))):
                        m.d.sync += equal.eq(0)
                    m.d.comb += tail_shifts.eq(tail)
                    with m.If(tail):
                        m.d.sync += name.eq(Cat(name[1:], one))
                    with m.If(bit == BYTE - 1):
                        m.next = "Next"
            with m.State("Next"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += place.eq(place + 1)
                m.next = "Shift"
                with m.If(in_rows & chunk_ends):
                    m.d.comb += self.move.eq(1)
                    m.d.sync += [place.eq(0), in_rows.eq(~self.leaves)]
                with m.If(last):
                    m.d.comb += failed.eq(1)
                with m.Elif(in_digest & (place == DIGEST_BYTES - 1) & equal):
                    m.d.sync += [place.eq(0), in_digest.eq(0), in_rows.eq(1)]
                    m.next = "Drain"
                with m.If((tail & (place == 2 * CRC_BYTES - 1)) | ~equal):
                    m.next = "Skip"
                    with m.If(last & equal):
                        m.d.comb += failed.eq(0)
                        m.next = "Check"
                    with m.Elif(last):
                        m.next = "Shift"
            with m.State("Drain"):
                with m.If(self.idle):
                    m.d.comb += [self.start.eq(1), self.clear.eq(1)]
                    m.d.sync += dirty.eq(1)
                    m.next = "Shift"
            with m.State("Check"):
                with m.If(done):
                    m.next = "Compare"
            with m.State("Compare"):
                # Both go round, and are the same again when all bits have been.
                m.d.comb += self.clear.eq(1)
                m.d.sync += name.eq(Cat(name[1:], name[0]))
                m.d.sync += equal.eq(equal & (name[0] == crc[0]))
                with m.If(done):
                    m.next = "End"
            with m.State("End"):
                m.next = "Shift"
                m.d.sync += dirty.eq(~equal)
                m.d.comb += failed.eq(~equal)
            with m.State("Skip"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & last):
                    m.d.comb += failed.eq(1)
                    m.next = "Shift"

        with m.If(failed | ending):
            m.d.sync += [self.ended.eq(1), self.failed.eq(failed), equal.eq(1)]
            m.d.sync += [in_digest.eq(1), in_rows.eq(0), place.eq(0)]
        return m

    def _digest_bit(self, place, bit):
        bits = Const(int.from_bytes(self.digest, "little"), BYTE * DIGEST_BYTES)
        return bits.bit_select(Cat(bit, place[:2]), 1)

    def _read_back(self, m, enters, shifts, check, compare, done):
        """CRC of what tables show; ``done`` tells that all have, or that all bits are compared."""
        crc, fold = Signal(FOLD_BITS, reset_less=True), Signal(FOLD_BITS, reset_less=True)
        shown = [
            self.folds.word_select(n, FOLD_BITS).rotate_left(_turn(n))
            for n in range(len(self.tables))
        ]
        cycles = _check_cycles(self.tables)
        count = Signal(range(max(cycles, FOLD_BITS)))
        m.d.sync += fold.eq(reduce(xor, shown))
        fed = Mux(crc[0] & check, _POLYNOMIAL, 0) ^ Mux(check, fold, 0)
        with m.If(shifts | check | compare):
            m.d.sync += crc.eq(Cat(crc[1:], ~check & enters) ^ fed)
        m.d.comb += done.eq(Mux(compare, count == FOLD_BITS - 1, count == cycles - 1))
        with m.If(check | compare):
            m.d.sync += count.eq(Mux(done, 0, count + 1))
        return crc
