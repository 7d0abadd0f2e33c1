"""How long does `import service.app` take, and does it bring torch? `python -m benchmarks.service_import [--times 11]`

Each time in a process of its own; seconds of the clock and of the processor, without the interpreter's own start.
"""

import argparse
import json
import statistics
import subprocess
import sys

from benchmarks.machine import facts

HEAVY = ("torch", "mne", "braindecode", "numpy", "pandas", "scipy", "matplotlib")
ONCE = f"""
import json, sys, time
clock, processor = time.perf_counter(), time.process_time()
import service.app
print(json.dumps({{"clock_s": time.perf_counter() - clock, "processor_s": time.process_time() - processor,
                   "modules": len(sys.modules), "heavy": [name for name in {HEAVY} if name in sys.modules]}}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=11)
    arguments = parser.parse_args()
    print(json.dumps({"machine": facts()}))
    rows = [once() for _ in range(arguments.times)]
    for row in rows:
        print(json.dumps(row))
    for name in ("clock_s", "processor_s"):
        values = [row[name] for row in rows]
        print(f"import service.app, {name}: median {statistics.median(values):.3f}, max {max(values):.3f}")
    print("heavy modules that it brought:", sorted({name for row in rows for name in row["heavy"]}) or "none")


def once() -> dict:
    done = subprocess.run([sys.executable, "-c", ONCE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
