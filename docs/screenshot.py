"""Draw a report of escc in a headless Chromium: `python docs/screenshot.py REPORT.html PICTURE.png`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=20000",
)
DARK = "--blink-settings=preferredColorScheme=0"
TIMEOUT_S = 300


def browser() -> str | None:
    """Path of an installed Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def opened(page: Path, options: Sequence[str]) -> str:
    """Open a page until its charts are drawn: what Chromium prints under these options.

    Raises ValueError if no Chromium is installed, if it fails, or for anything that the page writes to its console.
    """
    program = browser()
    if program is None:
        raise ValueError(f"no Chromium is installed: none of {', '.join(BROWSERS)} is on the path")
    with tempfile.TemporaryDirectory() as profile:
        arguments = [program, *OPTIONS, f"--user-data-dir={profile}", *options, page.resolve().as_uri()]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    told = [line for line in done.stderr.split("\n") if "CONSOLE" in line]
    if done.returncode or told:
        raise ValueError("\n".join(told) or f"Chromium ended with exit code {done.returncode}:\n{done.stderr}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="a page of --report")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--width", type=int, default=1280, help="of the window in pixels (default 1280)")
    parser.add_argument("--dark", action="store_true", help="as a reader who prefers dark pages sees it")
    parser.add_argument("--height", type=int, default=1000, help="of the window in pixels (default 1000)")
    args = parser.parse_args()
    try:
        args.page.resolve(strict=True)
        options = [f"--window-size={args.width},{args.height}", f"--screenshot={args.picture.resolve()}"]
        opened(args.page, [*options, *([DARK] if args.dark else [])])
    except (OSError, ValueError) as e:
        print(f"error: {args.page}: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
