#!/usr/bin/python3
"""Runs the tests: unit, regress, library, docs, acceptance, check (all, unless some are named).

The last line is `N passed, M failed, K skipped`; the exit status is 0 when nothing failed. Every skip is
printed with its reason. See tests/README.md for what each suite takes.
"""
import argparse
import concurrent.futures
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from harness import acceptance, check, docs, library, regress, unit  # noqa: E402
from harness.common import Context, FAILED, PASSED, SKIPPED  # noqa: E402

SUITES = {
    "unit": unit.cases,
    "regress": regress.cases,
    "library": library.cases,
    "docs": docs.cases,
    "acceptance": acceptance.cases,
    "check": check.cases,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    build = os.path.join(root, "build", "release")
    parser.add_argument("--pdn", help="the command under test (default: the one of --build)")
    parser.add_argument("--build", default=build, help="build folder")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--filter", default="", help="only cases whose name holds this")
    parser.add_argument("--bless", action="store_true", help="rewrite the expectations of regressions")
    parser.add_argument("--wrap", default="", help="command put before pdn, such as valgrind")
    parser.add_argument("--modes", default="", help="only these modes of the regressions, by comma")
    parser.add_argument("--patience", type=float, default=1, help="factor on the time limits")
    parser.add_argument("--verbose", "-v", action="store_true", help="print passed cases too")
    parser.add_argument("suites", nargs="*", help=", ".join(SUITES))
    options = parser.parse_args()
    for suite in options.suites:
        if suite not in SUITES:
            parser.error(f"there is no suite '{suite}'; the suites are {', '.join(SUITES)}")
    options.root = root
    options.build = os.path.abspath(options.build)
    options.pdn = os.path.abspath(options.pdn or os.path.join(options.build, "bin", "pdn"))
    return options


def guarded(case, context):
    """One case; a fault of the harness itself is a failure of the case, not the end of the run."""
    start = time.monotonic()
    try:
        outcomes = case.run(context)
    except Exception as fault:  # pylint: disable=broad-except
        outcomes = [(FAILED, case.name, f"{type(fault).__name__}: {fault}")]
    return outcomes, time.monotonic() - start


def main():
    options = arguments()
    counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
    slowest = []
    with tempfile.TemporaryDirectory(prefix="pdn-test-") as scratch:
        context = Context(options, scratch)
        for name in options.suites or SUITES:
            cases = [c for c in SUITES[name](context) if options.filter in c.name]
            before = dict(counts)
            start = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
                for case, (outcomes, seconds) in zip(
                        cases, pool.map(lambda c: guarded(c, context), cases)):
                    slowest.append((seconds, f"{name}/{case.name}"))
                    for outcome in outcomes:
                        status, what, message = outcome[:3]
                        counts[status] += outcome[3] if len(outcome) > 3 else 1
                        if status != PASSED or options.verbose:
                            print(f"{status:7} {name}/{what}" + (f": {message}" if message else ""),
                                  flush=True)
            done = {k: counts[k] - before[k] for k in counts}
            print(f"{name}: {done[PASSED]} passed, {done[FAILED]} failed, {done[SKIPPED]} skipped"
                  f" ({time.monotonic() - start:.1f} s)", flush=True)
    if options.verbose:
        for seconds, what in sorted(slowest, reverse=True)[:10]:
            print(f"{seconds:8.2f} s  {what}")
    print(f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped")
    return 1 if counts[FAILED] or not sum(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
