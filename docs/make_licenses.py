"""Write the tables of `licenses.md` from what is installed with sksemantic.

Usage: ``python docs/make_licenses.py``. They are never edited by hand.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution

from _pages import DOCS, table, table_line, write_part
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = DOCS / "licenses.md"
PROJECT = "sksemantic"
# Of torch's builds with CUDA, under NVIDIA's own licences: the page names them.
NVIDIA = ("cuda-", "nvidia-")
# None asks for more than to keep its notice; MPL-2.0 also for changes of its own files.
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause"),
    *("BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MPL-2.0"),
    *("PSF-2.0", "Unlicense", "Zlib"),
}
# How packages wrote it before there were license expressions.
FORMER_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def requirements_of(name, extras=()):
    """Return what a package needs on this machine."""
    found = map(Requirement, distribution(name).requires or [])
    return [
        requirement
        for requirement in found
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": e}) for e in (*extras, ""))
    ]


def runtime_dependencies():
    """Return the installed packages that sksemantic needs, and who needs each."""
    needed_by, todo = {}, [(PROJECT, ())]
    while todo:
        parent, extras = todo.pop()
        for requirement in requirements_of(parent, extras):
            name = canonicalize_name(requirement.name)
            if name.startswith(NVIDIA) or not is_installed(name):
                continue
            if name not in needed_by:
                todo.append((name, requirement.extras))
            needed_by.setdefault(name, set()).add(parent)
    return needed_by


def is_installed(name):
    """Return whether there is a package of that name."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def license_of(name):
    """Return the license that a package's metadata name."""
    metadata = distribution(name).metadata
    if metadata.get("License-Expression"):
        return metadata["License-Expression"]
    classifiers = [c.split(" :: ") for c in metadata.get_all("Classifier", [])]
    found = [c[-1] for c in classifiers if c[0] == "License" and len(c) > 2]
    found = found or [metadata.get("License", "").strip() or "none named"]
    return " AND ".join(FORMER_NAMES.get(each, each) for each in found)


def is_permissive(license):
    """Return whether all parts of a license are in the list."""
    return {*re.split(r" AND | OR ", re.sub(r"[()]", "", license))} <= PERMISSIVE


def write_page():
    """Write both tables."""
    own = {canonicalize_name(r.name): r for r in requirements_of(PROJECT)}
    rows = [
        table_line([f"`{name}`", f"`{own[name].specifier}`", license_of(name)])
        for name in sorted(own)
    ]
    heading = ("package", "versions", "licence")
    write_part(PAGE, "direct", table(heading, rows))
    rows = [
        table_line([f"`{name}`", ", ".join(sorted(parents)), license_of(name)])
        for name, parents in sorted(runtime_dependencies().items())
        if name not in own
    ]
    write_part(PAGE, "indirect", table(("package", "needed by", "licence"), rows))


if __name__ == "__main__":
    write_page()
