"""Pages of reports in a browser without a screen."""

import html
import re
import shutil
import subprocess

import pytest

from tests.report.cases import whole_report
from xnorflow.report.page import page


NAMES = "chromium", "chromium-browser", "google-chrome"
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

# The page in a frame of a given width, and what has become of it.
OUTER = """<!doctype html><body>
<iframe id="page" width="{width}" height="900" srcdoc="{page}"></iframe>
<output id="found"></output><script>
addEventListener("load", () => {{
  const inner = document.getElementById("page").contentDocument;
  const clicked = inner.querySelectorAll(".node")[1];
  clicked.dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
  const title = clicked.querySelector("title").textContent;
  const chosen = inner.querySelector("#details h3").textContent === title;
  const former = inner.getElementById("graph").getAttribute("viewBox");
  inner.getElementById("in").click();
  const zoomed = inner.getElementById("graph").getAttribute("viewBox") !== former;
  const low = (part) => part.getBoundingClientRect().height < 60;
  const flat = [...inner.querySelectorAll("section")].filter(low).length;
  const root = inner.documentElement;
  const fits = root.scrollWidth <= root.clientWidth;
  const found = JSON.stringify({{ chosen, zoomed, flat, fits }});
  document.getElementById("found").textContent = found;
}});
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [1280, 420])
def test_pages_work(tmp_path, width):
    outer = tmp_path / "outer.html"
    outer.write_text(OUTER.format(width=width, page=html.escape(page(whole_report(tmp_path)))))
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/user",
         "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", outer.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    found = re.search(r'<output id="found">(.*?)</output>', done.stdout)[1]
    assert found == '{"chosen":true,"zoomed":true,"flat":0,"fits":true}'
