"""How Sphinx makes the pages: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import kpflow_cli

sys.path.insert(0, str(Path(__file__).parent / "building"))
from front_door import list_hidden_files

project = "kpflow"
author = copyright = "the kpflow developers"  # noqa: A001
release = version = kpflow_cli.__version__

extensions = [
    "myst_nb",
    "autoapi.extension",
    "sphinx.ext.napoleon",
    "docstrings",
    "front_door",
    "mathml",
    "repository_links",
    "command_pages",
    "configuration_keys",
    "gallery",
]
exclude_patterns = ["building"]
nitpicky = True
# what modules import for type checkers alone cannot be looked up in the program
nitpick_ignore = [("py:class", name) for name in ("Tensor", "TracedPass", "ScipyOperator")]
html_theme = "furo"
html_title = "kpflow"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
# summaries are fetched, which a page opened from disk may not
html_show_search_summary = False
templates_path: list[str] = []

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 4
# modules without a page are looked up in the program itself
suppress_warnings = ["autoapi.python_import_resolution"]

# cells are run at every build, and one that fails ends it
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autoapi_dirs = ["../kpflow_cli"]
autoapi_root = "modules"
autoapi_ignore = list_hidden_files()
autoapi_add_toctree_entry = False
autoapi_member_order = "groupwise"
autoapi_python_class_content = "class"
autoapi_options = ["members", "show-inheritance"]
autoapi_keep_files = False
