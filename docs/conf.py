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
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2, "footer_start": [], "footer_end": []}
html_show_sourcelink = False
