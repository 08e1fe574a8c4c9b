"""Notebooks as pages, from the outputs stored in them: nothing is run, and Jupyter is not needed to build."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FOLDER = "notebooks"


def notebook_pages(generated: Path) -> dict[str, str]:
    """Page per notebook and the list of them, by path under ``generated``; pictures are written at once."""
    pages, rows = {}, []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        pages[f"{FOLDER}/{path.stem}.md"] = page(notebook, path.stem, generated / FOLDER)
        rows.append(f"- [{title(notebook, path.stem)}](generated/{FOLDER}/{path.stem}.md)")
    entries = "\n".join(f"generated/{FOLDER}/{Path(name).stem}" for name in pages)
    toctree = f"\n\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{entries}\n```\n" if pages else ""
    return pages | {"notebooks.md": "\n".join(rows) + toctree}


def title(notebook: dict[str, Any], stem: str) -> str:
    """First heading of a notebook."""
    for cell in notebook["cells"]:
        found = re.search(r"^# (.+)$", "".join(cell["source"]), re.M) if cell["cell_type"] == "markdown" else None
        if found:
            return found[1]
    return stem


def page(notebook: dict[str, Any], stem: str, folder: Path) -> str:
    """Markdown of one notebook: its text, its code and what was stored below it."""
    parts = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\]\((?:\.\./)?docs/([^)]+)\)", r"](../../\1)", source).replace(".ipynb)", ".md)"))
        elif cell["cell_type"] == "code" and source:
            parts.append(fenced(source, "python"))
            parts += [shown(out, f"{stem}_{number}_{i}", folder) for i, out in enumerate(cell.get("outputs", []))]
    return "\n\n".join(filter(None, parts)) + "\n"


def shown(output: dict[str, Any], name: str, folder: Path) -> str:
    """One stored output: the picture, else HTML, else Markdown, else text."""
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items() if isinstance(value, str | list)}
    if "image/png" in data:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(base64.b64decode(data["image/png"]))
        return f"![Figure]({name}.png)"
    if "text/html" in data:
        return fenced(f'<div class="notebook-output">{data["text/html"]}</div>', "{raw} html")
    if "text/markdown" in data:
        return data["text/markdown"]
    text = data.get("text/plain", "") or "".join(output.get("text", ""))
    return fenced(text.rstrip(), "text") if text.strip() else ""


def fenced(text: str, language: str) -> str:
    """A block that its own backticks cannot close."""
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall(r"`{3,}", text)), 3)
    return f"{fence}{language}\n{text}\n{fence}"
