"""Mutants of what dynamic thresholds consist of, each caught by a test.

    python bench/mutants.py

Changes a line in a copy of the project and runs the one test that is named for it, which must fail,
and must pass without the change. Writes results/mutants.json.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from record import record
from rich.console import Console


ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutant:
    """A fault: ``old``, which stands once in ``file``, becomes ``new``, and ``test`` must fail."""

    what: str
    file: str
    old: str
    new: str
    test: str


UNITS = "tests/hw/ops/test_dynamic.py"

MUTANTS = (
    Mutant(
        "thresholds come one frame late",
        "hw/ops/frame_table.py",
        """filled, used_up = Signal(), Signal()
        m.d.comb += [
            filled.eq(take & last_parameter),
""",
        """filled, used_up, begun = Signal(), Signal(), Signal()
        m.d.sync += begun.eq(1)
        m.d.comb += [
            filled.eq(take & last_parameter | ~begun),
""",
        f"{UNITS}::test_thresholds_are_those_of_their_frame",
    ),
    Mutant(
        "the second shift is that of another frame",
        "hw/ops/frame_table.py",
        "read.addr.eq(Cat(row, read_half)),",
        'read.addr.eq(Cat(row, ~read_half if name == "after" else read_half)),',
        f"{UNITS}::test_slopes_are_between_the_shifts_of_their_frame",
    ),
    Mutant(
        "tables do not change places with the last word of a frame",
        "hw/ops/frame_table.py",
        "read_half.eq(read_half ^ used_up)",
        "read_half.eq(read_half)",
        f"{UNITS}::test_thresholds_are_those_of_their_frame",
    ),
    Mutant(
        "a frame buffer has room for one word less",
        "hw/ops/frame_buffer.py",
        "queue = Fifo(self.i.p.shape(), self.depth)",
        "queue = Fifo(self.i.p.shape(), self.depth - 1)",
        f"{UNITS}::test_a_frame_buffer_holds_so_many_words",
    ),
    Mutant(
        "sums are not cleared between frames",
        "hw/ops/pooling.py",
        'Mux(stage["first"], 0, before[n])',
        "before[n]",
        "tests/hw/ops/test_pooling.py::test_sums_frames_up",
    ),
    Mutant(
        "the comparison is inverted",
        "hw/ops/dynamic_threshold.py",
        "bit.eq(value >= threshold),",
        "bit.eq(value <= threshold),",
        f"{UNITS}::test_thresholds_are_those_of_their_frame",
    ),
    Mutant(
        "a value at its threshold is below it",
        "hw/ops/dynamic_threshold.py",
        "bit.eq(value >= threshold),",
        "bit.eq(value > threshold),",
        f"{UNITS}::test_a_threshold_can_be_the_mean",
    ),
    Mutant(
        "tables change places a row too early",
        "hw/ops/frame_table.py",
        "used_up.eq(step & last_row & last_round),",
        "used_up.eq(step & last_round),",
        f"{UNITS}::test_thresholds_are_those_of_their_frame",
    ),
    Mutant(
        "parameters of a third frame are let in",
        "hw/ops/frame_table.py",
        "self.i.ready.eq(full != 2),",
        "self.i.ready.eq(1),",
        f"{UNITS}::test_takes_no_more_parameters_than_two_frames",
    ),
    Mutant(
        "words do not wait for their parameters",
        "hw/ops/frame_table.py",
        "self.ready.eq(full != 0),",
        "self.ready.eq(1),",
        f"{UNITS}::test_waits_for_its_parameters",
    ),
    Mutant(
        "a frame leaves its buffer before its parameters have come",
        "hw/ops/frame_buffer.py",
        "queue.o.valid & (released != 0)),",
        "queue.o.valid),",
        f"{UNITS}::test_a_frame_buffer_keeps_its_frame",
    ),
    Mutant(
        "frames of single buffers begin a cycle too early",
        "hw/streams/guard.py",
        "wait.eq(self.cycles - 1)",
        "wait.eq(self.cycles - 2)",
        "tests/hw/streams/test_guard.py::test_frames_begin_no_sooner_than_they_may",
    ),
    Mutant(
        "what the hyper function gives is rounded down in training",
        "sw/nn/dynamic.py",
        "(y.detach() * scale + 0.5).floor()",
        "(y.detach() * scale).floor()",
        "tests/sw/test_dynamic.py::test_integers_are_the_values_on_the_grid",
    ),
)


def main() -> None:
    """Break, test and record."""
    console = Console()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True)
        for name in listed.stdout.decode().split("\n")[:-1]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        for test in {mutant.test for mutant in MUTANTS}:
            if not _passes(test, copy):
                raise SystemExit(f"{test} fails as it is")
        for mutant in MUTANTS:
            path = copy / mutant.file
            text = path.read_text(encoding="utf-8")
            if text.count(mutant.old) != 1:
                raise SystemExit(f"{mutant.file} has not one place for: {mutant.what}")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
            caught = not _passes(mutant.test, copy)
            path.write_text(text, encoding="utf-8")
            console.print(f"{'caught' if caught else 'NOT CAUGHT'}: {mutant.what}")
            rows.append({
                "mutant": mutant.what, "file": mutant.file, "test": mutant.test, "caught": caught,
            })  # fmt: skip
    record("mutants", "python bench/mutants.py", ["pytest"], rows)
    if not all(row["caught"] for row in rows):
        raise SystemExit(1)


def _passes(test: str, folder: Path) -> bool:
    """Whether a test passes in the project's copy in ``folder``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    found = subprocess.run(command, cwd=folder, check=False, capture_output=True)
    if found.returncode not in (0, 1):
        raise SystemExit(found.stdout.decode())
    return found.returncode == 0


if __name__ == "__main__":
    main()
