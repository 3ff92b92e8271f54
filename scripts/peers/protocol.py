"""How a peer talks to bench_report: `ready`, then the seconds of a run for each line that it reads, which says how long to run."""

import sys
import time


def agree(what, found, expected, tolerance=1e-4):
    """Stops unless two numbers agree, relative to the larger of 1 and what was expected."""
    error = abs(found - expected) / max(1.0, abs(expected))
    if not error <= tolerance:
        sys.exit(f"{what}: {found} here, {expected} there; they must agree to {tolerance}")


def serve(run):
    """Answers each line with the mean seconds of `run`, over about as many seconds as the line says."""
    started = time.perf_counter()
    run()
    once = time.perf_counter() - started
    print("ready", flush=True)
    for line in sys.stdin:
        runs = max(1, int(float(line) / once))
        started = time.perf_counter()
        for _ in range(runs):
            run()
        once = (time.perf_counter() - started) / runs
        print(once, flush=True)
