"""Set up Sphinx for the site. ``docs/site/build.py`` runs it."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT))

from nes_lab import __version__  # noqa: E402

project, author, version, release = "NES Lab", "NES Lab maintainers", __version__, __version__
project_copyright = author
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs.site.math"]
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "NES Lab"
html_static_path = []  # build.py gives the folder
maximum_signature_line_length = 80  # longer ones get a line per argument
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_js_files = [("draw_figures.js", {"type": "module"})]
html_show_sphinx = False
html_sourcelink_suffix = ""
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_depth": 2,
    "header_links_before_dropdown": 5,
    "navbar_persistent": ["search-button"],
    "navbar_align": "left",
    "logo": {"text": "NES Lab"},
}
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # executed.py runs the notebooks, and the tests read the same outputs
nb_ipywidgets_js = {}  # it would load scripts from another server
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables in outputs too
suppress_warnings = ["myst.header"]
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_custom_sections = ["Law", "Shape", "Source", "Units", "Format", "File"]
napoleon_use_rtype = False
exclude_patterns = ["files"]
