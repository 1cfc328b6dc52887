#!/usr/bin/python3
"""The command from outside: exit statuses, streams, the cache, hostile programs, files that must survive."""
import json
import os
import subprocess
import sys
import tempfile
import time

PDN = os.environ["PDN"]
SCRATCH = tempfile.TemporaryDirectory(prefix="pdn-command-")
HERE = SCRATCH.name
PATIENCE = 20 if "sanitize" in os.environ.get("PDN_BUILD", "") else 1
FAULTS = []
COUNT = 0

HEAT = """use schemes
use equations

experiment warm {
    input cells = 32
    grid G = box([0, 1], [0, 1], cells = [cells, cells])
    let u = explicit(heat(), tau = stable, steps = 10)(G.x * G.y)
    print "mean": mean(u)
    print "range": min(u), max(u)
    save u to "u.npy"
}
"""


def pdn(*arguments, cwd=HERE, limit=60):
    start = time.monotonic()
    try:
        done = subprocess.run([PDN, *arguments], cwd=cwd, capture_output=True, timeout=limit * PATIENCE,
                              stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        return None, "", "time limit", limit
    return (done.returncode, done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"), time.monotonic() - start)


def check(what, true, *shown):
    global COUNT
    COUNT += 1
    if not true:
        FAULTS.append(what)
        print(f"wrong: {what}", *(str(s)[-600:] for s in shown))


def program(name, text):
    path = os.path.join(HERE, name)
    with open(path, "w" if isinstance(text, str) else "wb") as file:
        file.write(text)
    return path


def command_line():
    status, out, _, _ = pdn("--version")
    check("--version", status == 0 and out.startswith("pdn ") and out.count("\n") == 1, out)
    status, out, _, _ = pdn("--help")
    check("--help", status == 0 and "run" in out and "build" in out, out)
    for verb in ("run", "check", "build", "test", "fmt"):
        status, out, err, _ = pdn(verb, "--help")
        check(f"{verb} --help", status == 0 and out.strip(), out, err)
    for arguments in ([], ["rnu"], ["run"], ["run", "heat.pdn", "--no-such-option"],
                      ["run", "heat.pdn", "--threads", "many"], ["run", "heat.pdn", "--precision", "f16"],
                      ["build", "heat.pdn"]):
        status, out, err, _ = pdn(*arguments)
        check(f"exit status 2: {arguments}", status == 2 and err.strip() and not out, status, err)
    status, _, err, _ = pdn("rnu")
    check("a verb that is nearly right", "run" in err, err)
    status, _, err, _ = pdn("run", "nowhere.pdn")
    check("a program that is not there", status in (1, 2) and "nowhere.pdn" in err, status, err)
    status, _, err, _ = pdn("run", HERE)
    check("a folder as a program", status in (1, 2) and err.strip(), status, err)
    status, _, err, _ = pdn("run", "heat.pdn", "--out", "/proc/nowhere")
    check("a folder that cannot be made", status in (1, 2) and "nowhere" in err, status, err)


def streams():
    status, out, err, _ = pdn("run", "heat.pdn", "--out", "streams")
    lines = out.splitlines()
    check("results on standard output", status == 0 and len(lines) == 2 and
          lines[0].startswith("mean: ") and len(lines[1].split()) == 3, status, out, err)
    status, as_json, err, _ = pdn("run", "heat.pdn", "--out", "streams", "--json")
    try:
        rows = [json.loads(line) for line in as_json.splitlines()]
        check("--json", status == 0 and rows and all(isinstance(row, dict) for row in rows), as_json)
    except ValueError as error:
        check("--json", False, error, as_json)
    status, _, err, _ = pdn("run", "heat.pdn", "--out", "streams", "--quiet")
    check("--quiet", status == 0 and not err, err)
    status, _, err, _ = pdn("run", "heat.pdn", "--out", "streams", "--time")
    check("--time", status == 0 and err.count("\n") >= 3, err)
    for precision in ("f32", "f64"):
        status, _, err, _ = pdn("run", "heat.pdn", "--out", precision, "--precision", precision)
        with open(os.path.join(HERE, precision, "u.npy"), "rb") as file:
            head = file.read(128)
        check(f"saved in {precision}", (b"<f4" if precision == "f32" else b"<f8") in head, head)


def cache():
    folder = os.path.join(HERE, "cache")
    command = ["run", "heat.pdn", "--out", "c", "--cache", folder]
    first = pdn(*command)
    files = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    check("the cache has an entry", first[0] == 0 and files, first, files)
    again = pdn(*command)
    check("from the cache: the same", again[:2] == first[:2], again, first)
    for damage in ("empty", "cut", "noise", "flipped"):
        for path in files:
            with open(path, "rb") as file:
                data = bytearray(file.read())
            if damage == "empty":
                data = bytearray()
            elif damage == "cut":
                data = data[:len(data) // 2]
            elif damage == "noise":
                data = bytearray(os.urandom(len(data)))
            elif data:
                data[len(data) // 2] ^= 0xff
            with open(path, "wb") as file:
                file.write(data)
        result = pdn(*command)
        check(f"a damaged entry ({damage})", result[:2] == first[:2], result)
    pdn(*command)
    with open(os.path.join(HERE, "plain"), "w", encoding="utf-8") as file:
        file.write("no folder")
    result = pdn("run", "heat.pdn", "--out", "c", "--cache", os.path.join(HERE, "plain"))
    check("a cache that cannot be written", result[:2] == first[:2], result)
    fresh = os.path.join(HERE, "fresh")
    running = [subprocess.Popen([PDN, "run", "heat.pdn", "--cache", fresh, "--out", f"together{i}"],
                                cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for i in range(6)]
    outs = [child.communicate()[0].decode() for child in running]
    check("six runs at once on an empty cache", all(child.returncode == 0 for child in running) and
          set(outs) == {first[1]}, outs)


def hostile():
    cases = {
        "parentheses": "let x = " + "(" * 100000 + "1" + ")" * 100000 + "\n",
        "open parentheses": "let x = " + "(" * 100000,
        "brackets": "let x = " + "[" * 100000 + "]" * 100000 + "\n",
        "braces": "experiment a " + "{ if 1 " * 50000,
        "minus": "let x = " + "-" * 100000 + "1\n",
        "powers": "let x = " + "2^" * 100000 + "1\n",
        "sums": "let x = " + "1+" * 100000 + "1\n",
        "calls": "let x = f" + "(1)" * 100000 + "\n",
        "string": 'let x = "' + "a" * 1000000,
        "bytes": bytes(range(256)) * 64,
        "zeros": b"\0" * 4096,
        "utf8": b"let \xff\xfe = 1\nlet \xe2\x82 = 2\n",
        "endless": "operator f(u) = f(u + 1)\nexperiment e { print \"x\": f(1) }\n",
        "mutual": "operator f(u) = g(u)\noperator g(u) = f(u)\nexperiment e { print \"x\": f(1) }\n",
        "doubling": "operator d(A)(u) = A(A(u))\noperator i(u) = u + 1\n"
                    "experiment e { print \"x\": " + "d(" * 60 + "i" + ")" * 60 + "(1) }\n",
        "huge power": "operator i(u) = u + 1\nexperiment e { print \"x\": (i^1000000000000)(1) }\n",
        "huge grid": "experiment e {\n    grid G = box([0, 1], [0, 1], cells = [4000000, 4000000])\n"
                     "    print \"x\": mean(G.x)\n}\n",
        "huge cells": "experiment e {\n    grid G = box([0, 1], cells = [1e300])\n    print \"x\": mean(G.x)\n}\n",
        "many names": "".join(f"let n{i} = n{i + 1}\n" for i in range(20000)) + "let n20000 = n0\n",
        "many errors": "let = = =\n" * 20000,
        "deep lists": "experiment e { print \"x\": length(" + "[" * 5000 + "1" + "]" * 5000 + ") }\n",
    }
    for name, text in cases.items():
        program("hostile.pdn", text)
        for verb in ("check", "run"):
            status, out, err, seconds = pdn(verb, "hostile.pdn", limit=20)
            check(f"{verb} of {name}", status in (0, 1, 2) and len(err) < 200000, status, out, err)
            check(f"{verb} of {name} is quick", seconds < 10 * PATIENCE, f"{seconds:.1f} s")
    program("big.pdn", "let x = 1 + 2 * (3 - 4)\n# a comment of some length, to fill the file\n" * 720000)
    for verb in ("check", "fmt"):
        status, _, err, seconds = pdn(verb, "big.pdn", limit=60)
        check(f"{verb} of a file of 50 MB", status in (0, 1) and seconds < 30 * PATIENCE, status, err, seconds)


def outputs_survive():
    folder = os.path.join(HERE, "keep")
    os.makedirs(folder, exist_ok=True)
    good = os.path.join(folder, "u.npy")
    with open(good, "w", encoding="utf-8") as file:
        file.write("a good file")
    program("fails.pdn", HEAT.replace('    save', '    assert max(u) < -1\n    save'))
    status, _, err, _ = pdn("run", "fails.pdn", "--out", folder)
    with open(good, encoding="utf-8") as file:
        kept = file.read()
    check("a failed run leaves the good file", status == 1 and kept == "a good file", status, err, kept)
    check("and nothing half-written", os.listdir(folder) == ["u.npy"], os.listdir(folder))
    program("limits.pdn", HEAT.replace("cells = 32", "cells = 512"))
    shell = f"ulimit -f 64; trap '' XFSZ; exec '{PDN}' run limits.pdn --out '{folder}' --cache '{HERE}/cache'"
    done = subprocess.run(["bash", "-c", shell], cwd=HERE, capture_output=True, text=True, check=False)
    with open(good, encoding="utf-8") as file:
        kept = file.read()
    check("a full disk: an error, and the good file is there", done.returncode == 1 and
          kept == "a good file" and "u.npy" in done.stderr, done.returncode, done.stderr, kept[:50])
    check("and nothing half-written beside it", os.listdir(folder) == ["u.npy"], os.listdir(folder))


TWICE = """network scaled()(f) {
    param a = 1
    return a * f
}

experiment twice {
    data jumps = signals(cells = 16, count = 8, batch = 4)
    let net = scaled()
    train net on x in jumps for 2 epochs with sgd(rate = 1e-2, schedule = step(every = 2, factor = 0.5)) {
        minimise mean((net(x) - 2 * x)^2)
    }
    train net on x in jumps for 3 epochs with sgd(rate = 1e-3) {
        minimise mean((net(x) - 2 * x)^2)
    }
    print "a": net.a
}
"""


def trainings_resume():  # and READ_BEFORE
    folder = os.path.join(HERE, "twice")
    os.makedirs(folder, exist_ok=True)
    program("twice.pdn", TWICE)
    status, out, err, _ = pdn("run", "twice.pdn", "--out", folder, "--quiet")
    check("the same is trained twice", status == 0, err)
    names = sorted(os.listdir(folder))
    check("each training has files of its own", names == [f"twice-net{which}.{kind}" for which in ("-2", "")
                                                          for kind in ("checkpoint", "history.csv")], names)
    status, again, err, _ = pdn("run", "twice.pdn", "--out", folder, "--quiet", "--resume")
    check("and both are resumed", status == 0 and again == out, status, err, again, out)
    program("twice.pdn", TWICE.replace("factor = 0.5", "factor = 0.25"))
    status, _, err, _ = pdn("run", "twice.pdn", "--out", folder, "--quiet", "--resume")
    check("but not with another schedule", status == 1 and "0.25" in err, status, err)

    text = TWICE.replace('    print "a"', '    save net to "net.safetensors"\n    load net from "net.safetensors"\n    print "a"')
    program("twice.pdn", TWICE.replace('    print "a"', '    save net to "net.safetensors"\n    print "a"'))
    status, _, err, _ = pdn("run", "twice.pdn", "--quiet")
    check("a network is saved", status == 0, err)
    program("twice.pdn", text)
    status, _, err, _ = pdn("run", "twice.pdn", "--quiet")
    check("what the run saves is not read from the last one", status == 1 and "before the program runs" in err, status, err)


def main():
    program("heat.pdn", HEAT)
    for part in (command_line, streams, cache, hostile, outputs_survive, trainings_resume):
        part()
    print(f"{COUNT - len(FAULTS)} passed, {len(FAULTS)} failed, 0 skipped")
    sys.exit(1 if FAULTS else 0)


main()
