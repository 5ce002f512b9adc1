"""How `make docs` builds the site: from these pages as they are, without the network."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Dropoff"
version = release = installed("dropoff")
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Dropoff"
html_show_copyright = html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
