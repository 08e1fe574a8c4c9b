from __future__ import annotations

import inspect
from pathlib import Path

import pandas as pd
from sphinx.application import Sphinx

import missie_impact as mi

project = "missie_impact"
author = "The missie_impact contributors"
version = release = mi.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode", "numpydoc"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "missie_impact"
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2, "footer_start": [], "footer_end": []}
html_show_sourcelink = False

GENERATED = Path(__file__).parent / "generated"


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda app: write_generated_pages())


def write_generated_pages() -> None:
    """Pages that would be wrong soon if they were written by hand: definitions and the list of public names."""
    GENERATED.mkdir(exist_ok=True)
    pages = {"definitions.md": definitions_page(), "api.md": api_page()}
    for name, text in pages.items():
        path = GENERATED / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def definitions_page() -> str:
    rules = mi.Definitions().describe()
    counts = ", ".join(f"{n} {status}" for status, n in rules["status"].value_counts().items())
    return DEFINITIONS.format(counts=counts, table=pipe_table(rules), schemes=pipe_table(schemes()))


def schemes() -> pd.DataFrame:
    from missie_impact.definitions import SIZE_SCHEMES

    return pd.DataFrame({"scheme": list(SIZE_SCHEMES), "rule": list(SIZE_SCHEMES.values())})


def pipe_table(frame: pd.DataFrame) -> str:
    def cell(value: object) -> str:
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        return text.replace("|", "\\|")

    rows = [[cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    rows = [[f"`{row[0]}`", *row[1:]] for row in rows]
    head = [list(frame.columns), ["---"] * frame.shape[1]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*head, *rows])


def api_page() -> str:
    sections: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Values": []}
    for name in sorted(mi.__all__, key=str.lower):
        value = getattr(mi, name)
        if inspect.isclass(value):
            is_error = issubclass(value, Exception)
            members = "" if is_error else ":members:\n"
            sections["Errors" if is_error else "Classes"].append(directive("autoclass", name, members))
        elif callable(value):
            sections["Functions"].append(directive("autofunction", name))
        else:
            sections["Values"].append(f"- `missie_impact.{name}`: {type(value).__name__}")
    parts = [f"## {title}\n\n" + "\n\n".join(items) for title, items in sections.items() if items]
    return "# Reference\n\nEverything that `import missie_impact as mi` opens.\n\n" + "\n\n".join(parts) + "\n"


def directive(kind: str, name: str, options: str = "") -> str:
    return f"```{{eval-rst}}\n.. {kind}:: missie_impact.{name}\n" + indent(options) + "```"


def indent(text: str) -> str:
    return "".join(f"   {line}\n" for line in text.splitlines())


DEFINITIONS = """# Definitions

Every rule of a study is a field of `Definitions` with its origin ({counts}):

- **documented**: published by CBS or in the letter for this question.
- **carried over**: published by CBS for another question and applied here.
- **assumed**: not documented by CBS.
- **design**: a rule of the statistical design, chosen by this project.

`mi.CBS_2024` holds the values below. Change one with `mi.CBS_2024.replace(gap_years=1)` or under `[definitions]` in
`study.toml`; an unknown name is an error.

{table}

## Size schemes

{schemes}
"""
