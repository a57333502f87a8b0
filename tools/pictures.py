"""Draw the pictures of the README from what the tool prints and writes.

python tools/pictures.py                    # docs/images/plan.svg
python tools/pictures.py FOLDER [CHROMIUM]  # also docs/images/report.png, of FOLDER/report.html
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLUMNS = 76
COMMAND = ("xnorflow", "plan", "zoo:mnist-tfc-sign", "--board", "icebreaker")


def main() -> None:
    """Draw."""
    (IMAGES / "plan.svg").write_text(terminal(COMMAND), encoding="utf-8")
    if len(sys.argv) > 1:
        chromium = sys.argv[2] if len(sys.argv) > 2 else "chromium"
        screenshot(Path(sys.argv[1]) / "report.html", IMAGES / "report.png", chromium)


def terminal(command: tuple[str, ...]) -> str:
    """Run a command, and draw the terminal as SVG."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS)}
    found = subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        console.print(Text.assemble(("$ ", "bold green"), " ".join(command)))
        console.print(found.stdout.rstrip(), markup=False)
    # A name of its own in place of a random one, so that the same output is the same file.
    svg = console.export_svg(title=" ".join(command[:2]), unique_id="plan")
    # No fonts from the network: those of the reader's system do.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def screenshot(page: Path, image: Path, chromium: str) -> None:
    """Photograph the top of a page, 1280 pixels wide."""
    subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--window-size=1280,1130", "--virtual-time-budget=3000",
            f"--screenshot={image.resolve()}", page.resolve().as_uri(),
        ],
        check=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
