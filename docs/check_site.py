"""Check the built site: links, and in a browser errors, widths and the search.

Usage: ``make docs``, then ``python docs/check_site.py``. The browser is Chromium,
without a window; nothing but this machine is asked for a page.
"""

import json
import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parent / "_build"
SECONDS = 180  # for all pages, on a busy machine
PHONE, DESK = 390, 1280  # pixels
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--window-size=1400,900"),
)
# Put into each page before all else: it tells of errors, missing files among them.
LISTENER = """<script>
const tell = (what) => window.top.errors.push([location.pathname, String(what)]);
window.addEventListener("error", (event) =>
  tell(event.message || event.target.src || event.target.href), true);
window.addEventListener("unhandledrejection", (event) => tell(event.reason));
console.error = (...words) => tell(words.join(" "));
</script>"""
# Each page in a frame as wide as a phone, then as a desk's screen; then a search.
SCRIPT = """<!doctype html><body><script>
window.errors = [];
const frame = document.body.appendChild(document.createElement("iframe"));
frame.height = 800;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const open = (url) => new Promise((done) => { frame.onload = done; frame.src = url; });
async function check({pages, widths, search}) {
  const wide = [];
  for (const page of pages) {
    frame.width = widths[0];
    await open("/" + page);
    for (const width of widths) {
      frame.width = width;
      await wait(20);
      const found = frame.contentDocument.documentElement.scrollWidth;
      if (found > frame.contentWindow.innerWidth) wide.push([page, width, found]);
    }
  }
  await open("/search.html?q=" + search);
  let hits = [];
  for (let i = 0; i < 100 && !hits.length; i++) {
    await wait(100);
    const links = frame.contentDocument.querySelectorAll("#search-results li a");
    hits = [...links].map((link) => link.pathname);
  }
  return {wide, hits, errors};
}
fetch("/tasks.json").then((answer) => answer.json()).then(check)
  .catch((error) => ({error: String(error)}))
  .then((found) => fetch("/found", {method: "POST", body: JSON.stringify(found)}));
</script>"""


class Page(HTMLParser):
    """The targets and the links of a page."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note what the tag is called, and where it leads to."""
        attrs = dict(attrs)
        self.ids |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.links += [attrs[key] for key in ("href", "src") if attrs.get(key)]


def pages_of(site):
    """Return the pages by their paths in the site."""
    files = sorted(site.rglob("*.html"))
    return {file.relative_to(site).as_posix(): Page(file) for file in files}


def broken_links(site):
    """Return the links within the site that lead nowhere, with the page of each."""
    pages, broken = pages_of(site), []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = (site / name).parent / unquote(parts.path) if parts.path else None
            target = path.resolve() if path else (site / name).resolve()
            if not target.is_file():
                broken.append((name, link))
                continue
            other = pages.get(target.relative_to(site.resolve()).as_posix())
            fragment = unquote(parts.fragment)
            if other and fragment not in {"", "#", *other.ids}:
                broken.append((name, link))
    return broken


class Handler(SimpleHTTPRequestHandler):
    """Serve the site, the script and its tasks; take what it has found."""

    def __init__(self, *args, state, **kwargs):
        self.state = state
        super().__init__(*args, **kwargs)

    def do_GET(self):
        """Answer with a page that tells of its errors, or with the script."""
        path = unquote(urlsplit(self.path).path).lstrip("/")
        own = {"check.html": SCRIPT, "tasks.json": json.dumps(self.state["tasks"])}
        file = Path(self.directory) / path
        if path.endswith(".html") and file.is_file():
            own[path] = file.read_text("utf-8").replace(
                "<head>", f"<head>{LISTENER}", 1
            )
        if path not in own:
            return super().do_GET()
        self.send_response(200)
        kind = "text/html" if path.endswith("html") else "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.end_headers()
        self.wfile.write(own[path].encode())

    def do_POST(self):
        """Keep what was found."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.state["found"] = json.loads(content)
        self.send_response(204)
        self.end_headers()
        self.state["done"].set()

    def log_message(self, *args):
        """Say nothing."""


def browse(site, pages, search, browser):
    """Open pages in a browser; return those too wide, the hits and the errors."""
    tasks = {"pages": pages, "widths": [PHONE, DESK], "search": search}
    state = {"tasks": tasks, "done": Event(), "found": {}}
    handler = partial(Handler, directory=site, state=state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/check.html"
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [browser, *FLAGS, f"--user-data-dir={folder}"]
        command += ["--remote-debugging-port=0", url]  # it stays open, without a window
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet)
        try:
            in_time = state["done"].wait(SECONDS)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
            server.server_close()
    return state["found"] if in_time else {"error": f"not done in {SECONDS} seconds"}


def problems(site=SITE, browser=None):
    """Return what is wrong with the site, in words."""
    found = [f"{page}: {link} leads nowhere" for page, link in broken_links(site)]
    if browser is None:
        return found
    pages = [page for page in pages_of(site) if not page.startswith("generated/")]
    pages.append("generated/sksemantic.SKTuningClassifier.html")  # the longest of them
    result = browse(site, pages, "label_texts", browser)
    if "error" in result:
        return [*found, result["error"]]
    found += [
        f"{page}: {n} pixels wide at {width}" for page, width, n in result["wide"]
    ]
    # A file of another server, such as what draws formulas, may be out of reach.
    told = [error for error in result["errors"] if not error[1].startswith("https://")]
    found += [f"{page}: {error}" for page, error in told]
    if not any("few_labels" in hit for hit in result["hits"]):
        found.append(f"the search for label_texts finds {result['hits'][:5]}")
    return found


def find_browser():
    """Return the path of Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


if __name__ == "__main__":
    wrong = problems(browser=find_browser())
    sys.stdout.write("\n".join(wrong or ["The site is as it should be."]) + "\n")
    sys.exit(bool(wrong))
