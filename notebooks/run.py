"""Run the notebooks from a clean kernel and store what they show, so that they read well where code is hosted.

``python notebooks/run.py`` runs all of them in order; ``python notebooks/run.py 01_first_study.ipynb`` runs one. A cell
that fails stops the run with its message, and the notebook stays as it was. What differs from run to run and says
nothing (times, machine, versions) is not stored.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS_PER_CELL = 600
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # where an object lay in memory says nothing
TABLE = re.compile(r"\bT_[0-9a-f]{5}(?=[_\" ])")  # pandas draws the name of a table anew in each run
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks named, or all; return 0, or 1 if one fails."""
    parser = argparse.ArgumentParser(description="Run notebooks from a clean kernel, in place.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="files; by default all in this folder")
    chosen = parser.parse_args(arguments).notebooks or sorted(HERE.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as scratch:
        set_up(scratch)
        for path in chosen:
            began = time.perf_counter()
            problem = run(path)
            if problem:
                sys.stderr.write(f"{path.name}: {problem}\n")
                return 1
            sys.stdout.write(f"{path.name}: {time.perf_counter() - began:.0f} s\n")
            sys.stdout.flush()
    return 0


def set_up(scratch: str) -> None:
    """Keep the kernel's own files out of the home folder, and its arithmetic on few threads."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        os.environ[name] = scratch
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "2")


def run(path: Path) -> str:
    """Run one notebook and store it; return what went wrong, or nothing."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.resolve().parent)}},
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return str(error)
    tidy(notebook)
    text: str = nbformat.writes(notebook)
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return ""


def tidy(notebook: Any) -> None:
    """Leave only what a reader needs: cells numbered in order, outputs without progress bars or run metadata."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        for output in cell.outputs:
            if "metadata" in output:
                output.metadata = {}
            plain = output.get("data", {}).get("text/plain")
            if plain is not None:
                output.data["text/plain"] = ADDRESS.sub("", plain)
            html = output.get("data", {}).get("text/html")
            if html is not None:
                output.data["text/html"] = named_by_content(html, number)


def named_by_content(html: str, number: int) -> str:
    """Name a table after what it holds and its cell, so that what did not change is stored unchanged."""
    blank = TABLE.sub("T_", html)
    digest = hashlib.sha256(f"{number}:{blank}".encode()).hexdigest()[:5]
    return TABLE.sub(f"T_{digest}", html)


if __name__ == "__main__":
    raise SystemExit(main())
