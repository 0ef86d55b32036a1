"""The scripts import each other as they do when they are run."""

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1]
sys.path[:0] = [str(FOLDER)]
