"""
Saving and serving
==================

What ``fit`` has learned is small: the language model itself stays where it is. You
learn to save a fitted estimator without pickle, to load it in another process, and to
answer requests over HTTP with Python's standard library alone.
"""

# %%
# A classifier
# ------------
import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from sksemantic import SKTuningClassifier
from sksemantic.datasets import load_definitions

KINDS = ["animal", "food", "place"]
definitions = load_definitions(as_frame=True).frame.query("kind in @KINDS")
train = definitions.groupby("kind").head(8)
clf = SKTuningClassifier(random_state=0).fit(train["definition"], train["kind"])

# %%
# What is saved
# -------------
# A directory of three files: what was trained, as safetensors; parameters and labels;
# and a model card to read. The weights of the language model, the last bar, are not
# among them. ``save_pretrained(folder, backbone=True)`` adds them, for a machine that
# does not have it.
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
clf.save_pretrained(folder / "kinds")
files = list((folder / "kinds").iterdir())
files += Path(clf.backbone_source_.location).glob("*.safetensors")
sizes = pd.Series(
    [path.stat().st_size / 1000 for path in files],
    index=[str(Path(path.parent.name, path.name)) for path in files],
    name="kB",
)

fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
bars = ax.barh(sizes.index, sizes, color=["C0"] * 3 + ["0.7"])
ax.bar_label(bars, fmt="{:,.1f} kB", padding=3)
ax.invert_yaxis()
ax.set(xscale="log", xlim=(0.1, 3e6), xlabel="kB, in powers of ten")
plt.show()

# %%
# The beginning of the card:
print("\n".join((folder / "kinds" / "README.md").read_text("utf-8").splitlines()[:16]))

# %%
# A service
# ---------
# The whole of it. It loads the estimator once; a lock is not needed, as estimators may
# be asked by several threads at once.
service = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from sksemantic import SKTuningClassifier

clf = SKTuningClassifier.from_pretrained(sys.argv[1])
clf.predict(["the first prediction loads the language model"])

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = [dict(zip(clf.classes_, p.tolist())) for p in clf.predict_proba(texts)]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(rows).encode())

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)  # 0: any free port
print(server.server_port, flush=True)
server.serve_forever()
"""

# %%
# It runs in another process, which loads what was saved here, and says on which port it
# listens. "127.0.0.1" is reached from this machine only.
(folder / "service.py").write_text(service, "utf-8")
process = subprocess.Popen(
    [sys.executable, folder / "service.py", folder / "kinds"],
    stdout=subprocess.PIPE,
    text=True,
)
port = int(process.stdout.readline())

# %%
# A request
# ---------
# Any language with HTTP and JSON can ask.
texts = ["a soup of tomatoes and onions", "the capital of Peru", "a horse with stripes"]
request = urllib.request.Request(
    f"http://127.0.0.1:{port}", json.dumps(texts).encode(), method="POST"
)
with urllib.request.urlopen(request, timeout=60) as response:
    answers = json.load(response)
pd.DataFrame(answers, index=texts).round(3)

# %%
# The same as here? Up to rounding:
process.kill()
process.communicate()
temporary.cleanup()
here = clf.predict_proba(texts)
print(f"largest difference: {abs(pd.DataFrame(answers).to_numpy() - here).max():.0e}")

# %%
# A real service also limits the size of a request, answers errors, and runs behind a
# server for the outside world.
