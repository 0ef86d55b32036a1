"""Draw how the two methods work: `method_prefix.svg` and `method_prompt.svg`.

Usage: ``python docs/make_drawings.py``. A drawing has a ground of its own, so that it
is readable on light and dark pages.
"""

from html import escape

from _pages import DOCS

WIDTH = 440
STYLE = """\
  .ground { fill: #ffffff; stroke: #c9ced6 }
  .frozen { fill: #e8ebf0; stroke: #7b8494 }
  .trained { fill: #cdeccf; stroke: #2e7d32 }
  .text { fill: #dcebfb; stroke: #2f6db3 }
  .line { fill: none; stroke: #4a5260; stroke-width: 1.5 }
  .head { fill: #4a5260 }
  text { fill: #1b1f24; font: 14px sans-serif; text-anchor: middle }
  .small { font-size: 12px }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #1a1d21; stroke: #4a5260 }
    .frozen { fill: #30363f; stroke: #98a2b3 }
    .trained { fill: #1f4d24; stroke: #7bd184 }
    .text { fill: #1f3d5c; stroke: #82b6ee }
    .line { stroke: #b7c0cc }
    .head { fill: #b7c0cc }
    text { fill: #eef1f5 }
  }"""


def box(kind, x, y, width, height, *lines):
    """Return a box with lines of text in its middle."""
    middle, first = x + width / 2, y + height / 2 + 5 - 9 * (len(lines) - 1)
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    found = [f'<rect class="{kind}" {place} rx="6"/>']
    return found + [words(middle, first + 18 * i, line) for i, line in enumerate(lines)]


def words(x, y, line, kind=""):
    """Return a line of text around x."""
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(line)}</text>'


def arrow(x1, y1, x2, y2):
    """Return an arrow between two points."""
    points = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    return f'<line class="line" {points} marker-end="url(#tip)"/>'


def legend(y):
    """Return what the colours mean."""
    found = []
    for i, (kind, line) in enumerate(
        [("frozen", "frozen"), ("trained", "trained"), ("text", "your text")]
    ):
        x = 30 + 138 * i
        found += [
            f'<rect class="{kind}" x="{x}" y="{y}" width="18" height="14" rx="3"/>'
        ]
        found += [words(x + 56, y + 12, line, "small")]
    return found


def prefix():
    """Return the drawing of the prefix method, and its height."""
    found = box("frozen", 15, 400, 130, 44, "prompt:", "“What is it?”")
    found += box("text", 290, 400, 130, 44, "text:", "“a small bird”")
    found += [arrow(80, 398, 80, 374), arrow(355, 398, 355, 374)]
    for i in range(3):
        y = 330 - 95 * i
        found += box("frozen", 15, y, 130, 42, f"layer {i + 1}")
        found += box("trained", 168, y + 4, 92, 34, "adapter")
        found += box("frozen", 290, y, 130, 42, f"layer {i + 1}")
        found += box("trained", 300, y - 30, 110, 22, "text adapter")
        found += [arrow(145, y + 21, 165, y + 21), arrow(260, y + 21, 287, y + 21)]
        found += [arrow(355, y, 355, y - 6), arrow(355, y - 31, 355, y - 51)]
        if i < 2:
            found += [arrow(80, y, 80, y - 51)]
        found += [words(214, y - 4, "keys, values", "small")]
    found += box("frozen", 300, 60, 110, 26, "mean")
    found += box("trained", 180, 54, 90, 38, "head")
    found += [arrow(299, 73, 273, 73), arrow(180, 73, 132, 73), words(90, 78, "animal")]
    return found + [words(220, 32, "The prefix method")] + legend(462), 490


def prompt():
    """Return the drawing of the prompt method, and its height."""
    found = box("frozen", 15, 400, 170, 44, "prompt:", "“What is it?”")
    found += box("text", 250, 400, 170, 44, "text:", "“a small bird”")
    found += box("frozen", 15, 340, 170, 34, "embeddings")
    found += box("frozen", 250, 340, 170, 34, "embeddings")
    found += box("trained", 15, 282, 170, 34, "adapter")
    found += [arrow(100, 398, 100, 377), arrow(335, 398, 335, 377)]
    found += [arrow(100, 339, 100, 319), arrow(100, 281, 100, 263)]
    found += [arrow(335, 339, 335, 263)]
    for i in range(3):
        found += box("frozen", 15, 226 - 48 * i, 405, 34, f"layer {i + 1}")
        if i < 2:
            found += [arrow(220, 226 - 48 * i, 220, 215 - 48 * i)]
    found += box("frozen", 300, 70, 110, 34, "mean")
    found += box("trained", 180, 68, 90, 38, "head")
    found += [arrow(355, 129, 355, 107), arrow(299, 87, 273, 87)]
    found += [arrow(180, 87, 132, 87), words(90, 92, "animal")]
    return found + [words(220, 36, "The prompt method")] + legend(462), 490


def write(name, parts, height, title):
    """Write a drawing."""
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{title}</title>",
        f"<style>\n{STYLE}\n</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/>'
        "</marker></defs>",
        f'<rect class="ground" x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" '
        'rx="10"/>',
        *parts,
        "</svg>",
    ]
    (DOCS / name).write_text("\n".join(lines) + "\n", "utf-8")


def main():
    """Write both drawings."""
    write(
        "method_prefix.svg",
        *prefix(),
        "A prompt's keys and values, adapted, layer by layer",
    )
    write(
        "method_prompt.svg",
        *prompt(),
        "A prompt's embeddings, adapted, before the text's",
    )


if __name__ == "__main__":
    main()
