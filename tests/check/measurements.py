#!/usr/bin/python3
"""What the measurements of bench/ share (bench/_pairs.py), and the training's table: numbers known by hand come out."""
import importlib.util
import os
import sys
import types

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")
sys.path.insert(0, BENCH)
import _pairs # noqa: E402


def module(path):
    spec = importlib.util.spec_from_file_location("training", os.path.join(BENCH, path))
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def processes():
    text = "import os; print('rate:', os.environ['RATE'], 'GB/s'); print('two words: 3,')"
    done = _pairs.run([sys.executable, "-c", text], RATE="2.5")
    assert _pairs.values(done.output) == {"rate": 2.5, "two words": 3}
    assert done.wall > 0 and done.cpu > 0 and 1 < done.memory < 1000, done
    try:
        _pairs.run([sys.executable, "-c", "print('why'); raise SystemExit('and how')"])
    except SystemExit as stop:
        assert "exit status 1\nwhy\nand how" in stop.code, stop.code
    else:
        raise AssertionError("a process that fails passes")


def numbers():
    # one second before the first step, and half a second a step; memory grows with the steps
    seconds, memory = _pairs.steady(lambda steps: _pairs.Done(1 + 0.5 * steps, 0, 10 * steps, ""), 5, 45)
    assert (seconds, memory) == (0.5, 450)
    assert _pairs.ratio([1, 8, 9], [1, 2, 9]) == 1 # of the medians it would be 4
    assert _pairs.show(_pairs.spread([3, 1, 2.5]), " MB") == "2.5 MB (1 to 3)"
    assert _pairs.show(_pairs.spread([3, 1, 2.5]), form=".1f") == "2.5 (1.0 to 3.0)"


def training():
    run = module("training/run.py")
    run.pytorch = lambda: "PyTorch" # which need not be here
    pair = {run.TRAINING: 40, run.INFERENCE: 20, run.MEMORY: 50}

    def lines(**columns):
        found = {"PyTorch": [], "pdn": [], run.ALONE: [], **columns}
        row = {"name": "net", "what": "small", **{label: run.summary(label, found) for label in run.LABELS}}
        return run.table([row], types.SimpleNamespace(threads=2, pairs=1)).splitlines()[2:]
    shown = lines(**{"PyTorch": [{label: 3 * number for label, number in pair.items()}], "pdn": [{**pair, run.COMPILE: 7}],
                     run.ALONE: [{run.TRAINING: 72, run.INFERENCE: 38, run.MEMORY: 50}]})
    assert shown[0].endswith("| times | pdn, 2 threads / 1 |"), shown
    assert shown[2].endswith("| 120 (120 to 120) | 40 (40 to 40) | **3.00** | 1.80 |"), shown
    assert shown[3].endswith("| **3.00** | 1.90 |"), shown
    assert shown[4].endswith("| 150 MB (150 to 150) | 50 MB (50 to 50) | **3.00** | – |"), shown
    assert shown[5].endswith("| – | 7 (7 to 7) | – | – |"), shown
    assert lines(PyTorch=[pair])[2].endswith("| 40 (40 to 40) | – | – | – |")
    assert lines(pdn=[pair])[2].endswith("| – | 40 (40 to 40) | – | – |")


processes()
numbers()
training()
