"""Weights that come in at run time, and where they go."""

import zlib

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorflow.hw.arithmetic.constants import LOAD_BITS, load_signature


__all__ = ["CRC_BYTES", "DIGEST_BYTES", "Loader", "crc_patch", "load_layout"]

DIGEST_BYTES = 4
"""Of the shape, in front of the rows."""
CRC_BYTES = 4
"""Of the CRC at the end, and of what brings it to what it is to be, in front of it."""

_POLYNOMIAL = 0xEDB88320  # CRC-32 of Ethernet, reflected: `zlib.crc32`
_ONES = 0xFFFFFFFF

load_layout = data.StructLayout({"data": LOAD_BITS, "last": 1})
"""A byte of a load, and whether it is its last one."""


def crc_patch(content: bytes, crc: int) -> bytes:
    """Four bytes behind ``content`` with which its CRC is the one that is wanted."""
    state = crc ^ _ONES
    for _ in range(32):  # back by four bytes of zeros
        out = state >> 31
        state = ((state ^ (_POLYNOMIAL if out else 0)) << 1 | out) & _ONES
    return (state ^ zlib.crc32(content) ^ _ONES).to_bytes(4, "little")


class Loader(wiring.Component):
    """Take loads, and write them into tables, a byte every nine cycles.

    A load is a stream of bytes: the digest of the shape, the rows of all tables, of each its bytes
    from the lowest on, four bytes of any contents, and the CRC-32 of all before, lowest byte first,
    whose last byte is marked. What has another digest is swallowed, and changes nothing. Otherwise
    no frame begins until all are out, and then until a load has ended as it should. A reset ends
    the load, but does not forget that it was under way.

    Parameters
    ----------
    digest : :class:`bytes`
    tables : list of (:class:`int`, :class:`int`)
        Bits of a row, and rows, of each table in the order in which they come.
    crc : :class:`int`
        CRC of what the tables hold at first.

    Members
    -------
    i : ``In(stream.Signature(load_layout))``
    o : ``Out(load_signature(len(tables)))``
    hold : ``Out(1)``
        Whether no frame may begin.
    idle : ``In(1)``
        Whether none is under way, and none begins.
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
            "o": Out(load_signature(len(self.tables))),
            "hold": Out(1),
            "idle": In(1),
            "ended": Out(1),
            "failed": Out(1),
            "valid": Out(1),
            "crc": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        byte, bit = self.i.p.data, Signal(range(LOAD_BITS))
        # What a reset must not touch: it is about the tables, which it does not touch either.
        crc = Signal(32, init=self._crc ^ _ONES, reset_less=True)
        dirty = Signal(reset_less=True)
        equal, in_digest, in_rows = Signal(init=1), Signal(init=1), Signal()
        place = Signal(range(2 * CRC_BYTES))  # of a byte of the digest, or behind the rows
        wrote, compares, ends, good = Signal(), Signal(), Signal(), Signal()
        end_of_rows = self._rows(m, wrote)
        m.d.comb += [
            self.crc.eq(crc ^ _ONES),
            self.valid.eq(~dirty),
            compares.eq(in_digest | (~in_rows & (place >= CRC_BYTES))),
            ends.eq(~in_digest & ~in_rows & (place == 2 * CRC_BYTES - 1)),
        ]
        # What is compared goes round, and is the same again when 32 bits have been.
        one = byte.bit_select(bit, 1)
        wanted = Mux(in_digest, self._digest_bit(place, bit), ~crc[0])
        feedback = (crc[0] ^ one) & ~compares
        fed = Cat(crc[1:], crc[0] & compares) ^ Mux(feedback, _POLYNOMIAL, 0)

        m.d.sync += self.ended.eq(0)
        with m.FSM() as fsm:
            m.d.comb += self.hold.eq(dirty | fsm.ongoing("Drain"))
            with m.State("Shift"):
                with m.If(self.i.valid):
                    m.d.sync += bit.eq(bit + 1)
                    m.d.sync += equal.eq(equal & (~compares | (one == wanted)))
                    # Until it is known that the load is for us, the CRC is that of what is there.
                    with m.If(~in_digest):
                        m.d.sync += crc.eq(fed)
                    with m.If(bit == LOAD_BITS - 1):
                        m.next = "Next"
            with m.State("Next"):
                m.d.comb += [self.i.ready.eq(1), wrote.eq(in_rows), good.eq(ends & equal)]
                m.next = "Shift"
                with m.If(~in_rows):
                    m.d.sync += place.eq(place + 1)
                with m.If(in_digest & (place == DIGEST_BYTES - 1)):
                    m.d.sync += [in_digest.eq(0), in_rows.eq(1), place.eq(0)]
                    m.next = "Drain"
                with m.If(in_rows & end_of_rows):
                    m.d.sync += in_rows.eq(0)
                with m.If(~self.i.p.last & (ends | ~equal)):
                    m.next = "Skip"
                with m.Elif(self.i.p.last):
                    m.next = "Shift"
            with m.State("Drain"):
                with m.If(self.idle):
                    m.d.sync += [dirty.eq(1), crc.eq(zlib.crc32(self.digest) ^ _ONES)]
                    m.next = "Shift"
            with m.State("Skip"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & self.i.p.last):
                    m.next = "Shift"

        with m.If(self.i.ready & self.i.valid & self.i.p.last):
            m.d.sync += [self.ended.eq(1), self.failed.eq(~good), dirty.eq(dirty & ~good)]
            m.d.sync += [equal.eq(1), in_digest.eq(1), in_rows.eq(0), place.eq(0)]
        return m

    def _digest_bit(self, place, bit):
        bits = Const(int.from_bytes(self.digest, "little"), 8 * DIGEST_BYTES)
        return bits.bit_select(Cat(bit, place[:2]), 1)

    def _rows(self, m, wrote):
        """Write a byte into its place, and go on; gives whether that is the last one."""
        ends = [(-(-width // LOAD_BITS) - 1, rows - 1) for width, rows in self.tables]
        columns, rows = (max(each) for each in zip(*ends, strict=True))
        column, row = Signal(range(columns + 1)), Signal(range(rows + 1))
        table = Signal(range(len(ends)))
        last_column, last_row, end_of_rows = Signal(), Signal(), Signal()
        m.d.comb += [
            last_column.eq(Array(_reaches(column, end) for end, _ in ends)[table]),
            last_row.eq(Array(_reaches(row, end) for _, end in ends)[table]),
            end_of_rows.eq(last_column & last_row & (table == len(ends) - 1)),
            self.o.row.eq(row),
            self.o.column.eq(column),
            self.o.data.eq(self.i.p.data),
            self.o.select.eq(Cat(wrote & (table == n) for n in range(len(ends)))),
        ]
        with m.If(wrote):
            m.d.sync += column.eq(Mux(last_column, 0, column + 1))
            with m.If(last_column):
                m.d.sync += row.eq(Mux(last_row, 0, row + 1))
            with m.If(last_column & last_row):
                m.d.sync += table.eq(table + 1)
        with m.If(self.i.ready & self.i.valid & self.i.p.last):
            m.d.sync += Cat(column, row, table).eq(0)
        return end_of_rows


def _reaches(counter, end):
    """Whether what counts from 0 is at the end: the first number that has all of its ones."""
    ones = [bit for n, bit in enumerate(counter) if end >> n & 1]
    return Cat(ones).all() if ones else Const(1)
