from sksemantic import __version__

project = "sksemantic"
author = "The sksemantic developers"
copyright = f"2026, {author}"
release = __version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 2

autosummary_generate = True
numpydoc_show_class_members = True
numpydoc_show_inherited_class_members = True
numpydoc_class_members_toctree = False
# Docstrings inherited from scikit-learn refer to labels and terms of its documentation.
suppress_warnings = ["ref.ref", "ref.term"]
