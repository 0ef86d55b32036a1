import logging
import os
import sys
from inspect import cleandoc
from pathlib import Path

import a11y_pygments  # noqa: F401

from sksemantic import __version__

sys.path.insert(0, str(Path(__file__).parent))  # where _gallery is

# a11y_pygments, which furo needs, makes the root logger print messages of level INFO.
# Take that back: the examples show what they show in a session of one's own.
logging.getLogger().handlers.clear()
logging.getLogger().setLevel(logging.WARNING)

project = "sksemantic"
author = "The sksemantic developers"
copyright = f"2026, {author}"
release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css", "gallery.css"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 2

autosummary_generate = True
numpydoc_show_class_members = True
numpydoc_show_inherited_class_members = True
numpydoc_class_members_toctree = False
# Docstrings inherited from scikit-learn refer to labels and terms of its documentation.
suppress_warnings = ["ref.ref", "ref.term"]

# Prompts and the lines of output between them are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.sphx-glr-script-out) > div.highlight > pre"

# Links into other projects' references need the network, which a build does without.
if os.environ.get("DOCS_INTERSPHINX") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "transformers": ("https://huggingface.co/docs/transformers/main/en", None),
    }

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",  # the others are shown, and not run
    "ignore_pattern": r"example_data\.py",
    "within_subsection_order": "_gallery.example_order",
    "minigallery_sort_order": "_gallery.example_order",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sksemantic",),
    "image_scrapers": ("matplotlib",),
    # The picture says it; TokenAttributionDisplay shows itself as HTML.
    "ignore_repr_types": r"(?<!TokenAttribution)Display|matplotlib",
    "image_srcset": ["2x"],
    "default_thumb_file": str(Path(__file__).parent / "_static" / "script.svg"),
    "reset_modules": ("matplotlib", "_gallery.reset_pandas"),
    "plot_gallery": True,
    "parallel": 2,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "first_notebook_cell": cleandoc("""
        # sksemantic, its default model, and what the pictures need; from a clone of the
        # repository, as the package is not on an index yet:
        #   pip install ".[embedded,plot]"
        %matplotlib inline
    """),
}
