"""``make pictures``: draws the dashboard from what a real Prometheus scraped of a real operator under load.

In: the dashboard of the chart. Out: one PNG for each of its rows in ``docs/pictures``. ``--minutes`` is how long the
load goes on, ``--keep FILE`` writes what Prometheus answered to a file, and ``--from FILE`` draws that again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT / "hack"), str(ROOT / "tests")]

from pictures import drawing, scene  # noqa: E402 (needs the path above)
from pictures.asked import Asked, ask  # noqa: E402

TARGET = ROOT / "docs" / "pictures"
BOARD = ROOT / "charts" / "hookline" / "files" / "dashboards" / "overview.json"


def main() -> int:
    """Run the scene, ask for every panel, draw every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--from", type=Path, dest="kept")
    options = parser.parse_args()
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    if options.kept:
        asked = Asked.read(options.kept)
    else:
        with scene.playing(options.minutes * 60, print) as (prometheus, start, end):
            asked = ask(prometheus, board, start, end)
    if options.keep:
        asked.write(options.keep)
    when = time.strftime("%Y-%m-%d", time.gmtime(asked.end))
    note = f"make pictures, {when}: {(asked.end - asked.start) / 60:.0f} minutes of a test load, scraped every second"
    for path in drawing.draw(board, asked, note, TARGET):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
