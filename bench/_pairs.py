"""What the measurements share: processes that must succeed, the numbers that they print, medians of pairs, options, the page.

Whoever measures runs all programs of a pair alternately, so that what disturbs the machine disturbs all of them; numbers are
shown as medians (least to greatest), ratios are the median of the ratios pair by pair.
"""
import argparse
import collections
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
import marked # noqa: E402

CC = ["gcc", "-std=gnu17", "-O3", "-march=native", "-ffast-math", "-fopenmp"]
# seconds by the wall and of the processor, greatest resident set in MB of 10^6 bytes, standard output
Done = collections.namedtuple("Done", "wall cpu memory output")


# ---- processes


def run(command, **environment):
    """What a process did that must succeed: Done."""
    with tempfile.TemporaryFile("w+") as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True,
                                   env={**os.environ, **environment})
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}: exit status {process.returncode}\n{output}{errors.read()}")
    return Done(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, output)


def values(text):
    """The numbers of `label: value` lines."""
    found = {}
    for line in text.splitlines():
        label, _, value = line.partition(": ")
        try:
            found[label.strip()] = float(value.split()[0].rstrip(","))
        except (IndexError, ValueError):
            pass
    return found


def plain(folder, name):
    """Compiles a program of plain/: its path."""
    path = os.path.join(folder, name)
    subprocess.run([*CC, os.path.join(HERE, "plain", name + ".c"), "-o", path, "-lm"], check=True)
    return path


def steady(process, short, long):
    """(seconds of one step, MB of the long run), where process(steps) is Done: what comes before the first step falls out."""
    many, few = process(long), process(short)
    return (many.wall - few.wall) / (long - short), many.memory


# ---- numbers


def spread(numbers):
    return {"median": statistics.median(numbers), "least": min(numbers), "greatest": max(numbers)}


def ratio(numbers, others):
    """Median, pair by pair."""
    return statistics.median(a / b for a, b in zip(numbers, others))


def show(found, unit="", form=".3g"):
    """A spread, for a table."""
    return f"{found['median']:{form}}{unit} ({found['least']:{form}} to {found['greatest']:{form}})"


# ---- what a run is options for, and where its results go


def make_parser(doc, pairs=7):
    """Of the options that all have."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--pdn", type=os.path.abspath, default=os.path.join(HERE, "..", "build", "release", "bin", "pdn"))
    parser.add_argument("--pairs", type=int, default=pairs)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", help="the numbers, to a file")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    return parser


def machine(*more):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = {line.split(":", 1)[1].strip() for line in file if line.startswith("model name")}
    return ", ".join(["; ".join(sorted(models)), f"{os.cpu_count()} cores", platform.system(), *more])


def pytorch():
    return f"PyTorch {run([sys.executable, '-c', 'import torch; print(torch.__version__)']).output.strip()} of Debian"


def heading(options, *more):
    """What stands above a table: when, on what, how often."""
    return f"Measured {time.strftime('%Y-%m-%d')}: {machine(*more)}, {options.threads} threads, {options.pairs} pairs."


def finish(options, text, mark, numbers, *more):
    """The table, printed and put between its marks on the page; the numbers, to a file."""
    print(text)
    if options.write:
        marked.put(os.path.join(HERE, "README.md"), text, f"<!-- {mark} -->", f"<!-- end of {mark} -->")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({**numbers, "machine": machine(*more)}, file, indent=1)
