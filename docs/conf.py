from __future__ import annotations

import sys
from pathlib import Path

import missie_impact as mi

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "missie_impact"
author = "The missie_impact contributors"
version = release = mi.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "generated_pages",
]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
# Parts that pages include; the reference by room (generated/api) holds pages of its own.
exclude_patterns = ["_build", "_ext", "generated/*.md"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # DEFAULT_CONTROLS by its name, not thirty words
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
python_maximum_signature_line_length = 100

html_theme = "pydata_sphinx_theme"
html_title = "missie_impact"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navbar_persistent": ["search-button"],
    "footer_start": [],
    "footer_end": [],
}
# notebooks are written by people: a heading level skipped, or a line of shell, is no error of the documentation
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
# only these of the folder have pages below them
WITH_PAGES_BELOW = ("api", "notebooks")
ALONE = [path.stem for path in Path(__file__).parent.glob("*.md") if path.stem not in WITH_PAGES_BELOW]
html_sidebars: dict[str, list[str]] = {name: [] for name in ALONE}
html_show_sourcelink = False
