"""Draws runs: one page with curves, completions, held-out answers and configurations, which needs no network.

    python launch/report.py workdirs/mine
    python launch/report.py workdirs/one workdirs/other --output=both.html

Several runs share the charts. The page is WORKDIR/report.html of the first run, unless --output names another file. A
run writes its own page at each evaluation and at its end. Needs the extra: pip install -e '.[report]'.
"""

import argparse
import sys

from rrft_jax.report import MissingPackageError, write_report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR", help="a run directory")
    parser.add_argument("--output", help="the page; default: report.html in the first WORKDIR")
    given = parser.parse_args()
    try:
        file = write_report(given.workdirs, given.output)
    except (ValueError, OSError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{file}  ({file.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
