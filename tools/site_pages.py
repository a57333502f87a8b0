"""Hooks of mkdocs.yml: what the pages of docs/ link to outside it, and the reference of commands.

Pages link to files as they stand in the repository. In the site these become pages of their own
under source/: Markdown as it is, anything else as code. Notebooks, which have no outputs, become
pages in their place: as Markdown their links are checked and their text is found.
"""

import json
import re
from pathlib import Path
from posixpath import normpath, relpath

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from xnorflow.cli import app


ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
COMMANDS = "<!-- commands -->"
WIDE = {"comparison.md", "results.md"}
"""Pages whose tables need the room of the columns beside them."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add notebooks, the files that pages link to, and those that these link to."""
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        place = _place(path.relative_to(ROOT).as_posix())
        files.append(File.generated(config, place, content=_notebook(path)))
    waiting = {path for page in files.documentation_pages() for path in _outside(page)}
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        content = (ROOT / path).read_text(encoding="utf-8")
        if path.endswith(".md"):
            waiting |= {found for found in _linked(content, path) if _is_outside(found)} - seen
        files.append(
            File.generated(
                config, _place(path), content=_page(path, content),
                inclusion=InclusionLevel.NOT_IN_NAV,
            )
        )  # fmt: skip
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links lead to where the site has things, and write the commands."""
    uri = page.file.src_uri
    if uri in WIDE:
        page.meta["hide"] = ["navigation", "toc"]
    if COMMANDS in markdown:
        context = typer.Context(typer.main.get_command(app), info_name="xnorflow")
        commands = get_docs_for_click(obj=context.command, ctx=context, name="xnorflow")
        return markdown.replace(COMMANDS, commands.partition("\n")[2])
    return markdown if uri.startswith("source/") else _rewritten(markdown, f"docs/{uri}")


def _outside(page: File) -> set[str]:
    """Files outside docs/ that a page links to."""
    return {
        path for path in _linked(page.content_string, f"docs/{page.src_uri}") if _is_outside(path)
    }


def _is_outside(path: str) -> bool:
    return not path.startswith("docs/") and (ROOT / path).is_file()


def _linked(markdown: str, origin: str) -> set[str]:
    """Paths in the repository that a page of it links to."""
    targets = (target.partition("#")[0] for _, _, target in LINK.findall(markdown))
    folder = origin.rpartition("/")[0]
    return {
        normpath(f"{folder}/{target}").lstrip("/")
        for target in targets
        if target and ":" not in target
    }


def _place(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/").replace(".ipynb", ".md")
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def _notebook(path: Path) -> str:
    """A notebook as Markdown, with a link to itself."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    parts = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    title, *rest = parts
    return "\n\n".join([title, f'<a href="../{path.name}" download>The notebook</a>', *rest])


def _page(path: str, content: str) -> str:
    """A file outside docs/ as a page."""
    if path.endswith(".md"):
        return _rewritten(content, path)
    language = path.rpartition(".")[2]
    return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n````{language}\n{content}\n````\n"


def _rewritten(markdown: str, origin: str) -> str:
    """Page with its links as they are in the site; a link to a folder becomes its text."""
    here = relpath(_place(origin) or ".", ".").rpartition("/")[0] or "."
    folder = origin.rpartition("/")[0]

    def rewritten(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if ":" in target or not path:
            return match[0]
        found = normpath(f"{folder}/{path}").lstrip("/")
        if (ROOT / found).is_dir():
            return text
        return f"{image}[{text}]({relpath(_place(found), here)}{hash_}{anchor})"

    return LINK.sub(rewritten, markdown)
