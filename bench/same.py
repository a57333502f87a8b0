"""Whether Verilog, design.json and the estimate are those of an earlier revision.

    python bench/same.py --against REVISION                    # all networks of the zoo
    python bench/same.py --against REVISION mnist-conv-up5k    # only these

Every network becomes the design that bench/designs.py has for it, with the code of both revisions.
What they write is compared by its digests; the line that names the version is left out, ports
without a name are numbered from 0, and units that have been renamed have their present names
on both sides. Ends with 1 if anything differs.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from earlier import ROOT, environment, function, short, worktree
from rich.console import Console


NETWORKS = sorted(path.stem for path in (ROOT / "zoo").glob("*.xnf"))
PORT = re.compile(r"port\$(\d+)\$")
RENAMED = {'"unit": "PostProcess"': '"unit": "Affine"'}


def main() -> None:
    """Compare, and print what is the same."""
    parser = argparse.ArgumentParser(description="Whether what is generated has changed.")
    parser.add_argument("--against", required=True, metavar="REVISION")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", choices=[*NETWORKS, []])
    given = parser.parse_args()
    console = Console()
    differ = False
    with worktree(given.against) as tree:
        console.print(f"beside {short(given.against)}")
        for name in given.networks or NETWORKS:
            before, now = (digests(name, code) for code in (tree, ROOT))
            for what in now:
                same = before[what] == now[what]
                differ |= not same
                verdict = now[what] if same else f"differs: {before[what]} -> {now[what]}"
                console.print(f"{name}: {what}: {verdict}", soft_wrap=True, highlight=False)
    sys.exit(differ)


def digests(name: str, code: Path) -> dict[str, str]:
    """Digests of what the code of a revision makes of a network, and the estimate."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), "write", name, folder, str(code)],
            env=environment(code),
            check=True,
        )
        found = {}
        for path in (Path(folder, "accelerator.v"), Path(folder, "design.json")):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".v":
                text = _renumbered(text.split("\n", 1)[1])
            for old, new in RENAMED.items():
                text = text.replace(old, new)
            found[path.name] = hashlib.sha256(text.encode()).hexdigest()
        found["estimate"] = Path(folder, "estimate").read_text(encoding="utf-8")
    return found


def _renumbered(verilog: str) -> str:
    """Verilog with the ports that have only a number, that of a net, numbered from 0.

    Yosys sorts them as words, 10 before 9; here they stand in the order of their numbers.
    """
    ranks = {n: f"{rank:06}" for rank, n in enumerate(sorted(set(map(int, PORT.findall(verilog)))))}
    lines = PORT.sub(lambda port: f"port${ranks[int(port[1])]}$", verilog).splitlines()
    for n, line in enumerate(lines):
        if line.startswith("module ") and PORT.search(line):
            lines[n] = ", ".join(sorted(line.split(", ")))
    runs = groupby(lines, key=lambda line: PORT.search(line) is not None)
    return "\n".join(line for ports, run in runs for line in (sorted(run) if ports else run))


def write(name: str, folder: Path, code: Path) -> None:
    """Write the files of a network's design, and its estimate, with the code of PYTHONPATH."""
    sys.path.insert(0, str(code / "bench"))
    from designs import DESIGNS

    design = DESIGNS[name].fold(function("load")(ROOT / "zoo" / f"{name}.xnf"))
    function("generate")(design, folder)
    Path(folder, "estimate").write_text(str(function("estimate")(design)), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
