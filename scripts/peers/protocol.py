"""How a peer talks to bench_report: `ready`, then the seconds of a run for each line that it reads."""

import sys
import time


def agree(what, found, expected, tolerance=1e-4):
    """Stops unless two numbers agree, relative to the larger of 1 and what was expected."""
    error = abs(found - expected) / max(1.0, abs(expected))
    if not error <= tolerance:
        sys.exit(f"{what}: {found} here, {expected} there; they must agree to {tolerance}")


def serve(run, least_seconds=0.05):
    """Answers each line with the mean seconds of `run`, over as many runs as take `least_seconds`."""
    started = time.perf_counter()
    run()
    once = time.perf_counter() - started
    runs = max(1, int(least_seconds / max(once, 1e-9)))
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for _ in range(runs):
            run()
        print((time.perf_counter() - started) / runs, flush=True)
