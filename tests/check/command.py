#!/usr/bin/python3
"""The command from outside: exit statuses, streams, the cache, hostile programs, files that must survive."""
import json
import math
import os
import re
import shutil
import struct
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
    for verb in ("run", "bench", "check", "build", "explain", "test", "fmt"):
        status, out, err, _ = pdn(verb, "--help")
        usage = re.search(r"^Usage: pdn %s FILE(.*)$" % verb, out, re.M)
        check(f"{verb} --help", status == 0 and usage and usage[1].count("[") == usage[1].count("]") and out.isascii(), out, err)
    for arguments in ([], ["rnu"], ["run"], ["run", "heat.pdn", "--no-such-option"],
                      ["run", "heat.pdn", "--threads", "many"], ["run", "heat.pdn", "--precision", "f16"],
                      ["build", "heat.pdn"], ["bench", "heat.pdn", "--interpret"], ["bench", "heat.pdn", "--repeat", "-1"]):
        status, out, err, _ = pdn(*arguments)
        check(f"exit status 2: {arguments}", status == 2 and err.strip() and not out, status, err)
    for option, value, right in (("--repeat", "0", "must be from 1 to 1000"), ("--repeat", "1001", "must be from 1 to 1000"),
                                 ("--threads", "0", "must be from 1 to 1024"), ("--threads", "-1", "must be from 1 to 1024"),
                                 ("--optimise", "4", "must be from 0 to 3"), ("--seed", "-1", "must not be negative"),
                                 ("--memory", "lots", "must be a size such as"), ("--precision", "f16", "must be f32 or f64"),
                                 ("--threads", "few", "invalid numeric value"), ("--seed", "x1", "invalid numeric value")):
        status, out, err, _ = pdn("bench", "heat.pdn", option, value)
        check(f"{option} {value}", status == 2 and not out and f"{option} is " in err and value in err and right in err,
              status, err)
    for option, value, right in (("--size", "12x", "cells an axis"), ("--size", "1x2x3x4", "up to three axes"),
                                 ("--spacing", "0", "a positive number"), ("--emit", "obj,odd", "obj, header, shared")):
        status, out, err, _ = pdn("build", "heat.pdn", "heat", option, value)
        check(f"{option} {value}", status == 2 and not out and f"{option} is '{value}', but must be " in err and right in err,
              status, err)
    status, _, err, _ = pdn("rnu")
    check("a verb that is nearly right", "run" in err, err)
    program("heat.pdn", HEAT)
    status, out, err, _ = pdn("run", "heat.pdn", "cells=8", "cells=16")
    check("an input given twice", status == 2 and not out and "'cells' is given twice: cells=8 and cells=16" in err, status, err)
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


STEPS = """network scaled()(f) {
    param a = 1
    return a * f
}

experiment counted {
    input steps = 300
    DATA
    let net = scaled()
    train net ON for steps steps with adam(rate = 1e-2) {
        minimise mean((net(x + 0.1 * normal(x)) - 2 * x)^2)
        every 2 epochs { print "epochs": net.a }
    }
    save net to "net.safetensors"
}
"""
WITH_DATA = STEPS.replace("DATA", 'data set = arrays("x.npy", batch = 8)').replace("ON", "on x in set")
COMPUTED = (STEPS.replace("DATA", "grid G = box([0, 1], cells = [16])\n"
                          "    data set = synthetic(normal(G.x), count = 23, batch = 8)").replace("ON", "on x in set"))
WITHOUT_DATA = (STEPS.replace("    DATA\n", "    grid G = box([0, 1], cells = [16])\n    let x = G.x\n").replace(" ON", "")
                .replace("        every 2 epochs { print \"epochs\": net.a }\n", ""))


def arrays(name, *shape):
    """An npy file of f64 numbers, by hand: the check needs no NumPy."""
    count = 1
    for axis in shape:
        count *= axis
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    numbers = struct.pack(f"<{count}d", *(math.sin(i) for i in range(count)))
    program(name, b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + numbers)


def content(*path):
    with open(os.path.join(HERE, *path), "rb") as file:
        return file.read()


def rows(*path):
    """The history without its clock."""
    return [line.rsplit(b",", 1)[0] for line in content(*path).splitlines()]


def counted(*arguments, threads=1):
    return pdn("run", "counted.pdn", *arguments, "--quiet", "--threads", str(threads))


def steps_resume():
    arrays("x.npy", 23, 16)  # 3 steps an epoch, the last of 7 samples
    for kind, text in (("with", WITH_DATA), ("computed", COMPUTED), ("without", WITHOUT_DATA)):
        epochs = kind != "without"
        program("counted.pdn", text)
        status, out, err, _ = counted("--out", f"whole-{kind}")
        check(f"steps {kind} data", status == 0 and out.count("epochs:") == (50 if epochs else 0), status, err)
        names = sorted(os.listdir(os.path.join(HERE, f"whole-{kind}")))
        check("write a checkpoint", names == ["counted-net.checkpoint", "counted-net.history.csv", "net.safetensors"], names)
        whole = content(f"whole-{kind}", "net.safetensors")
        for steps in (1, 99, 100, 200, 300):  # in the middle of an epoch, at its end, at the end of all
            part = counted(f"steps={steps}", "--out", f"part-{kind}", threads=2 if steps == 99 else 1)
            shown = part[1].count("epochs:")
            check("only whole epochs count", shown == (steps // 6 if epochs else 0), shown)
            status, _, err, _ = counted("--out", f"part-{kind}", "--resume")
            check(f"{steps} steps {kind} data go on", part[0] == 0 and status == 0 and not err, status, part[2], err)
            check("to the same bits", content(f"part-{kind}", "net.safetensors") == whole, steps)
            check("and the same history", rows(f"part-{kind}", "counted-net.history.csv") ==
                  rows(f"whole-{kind}", "counted-net.history.csv"), steps)
        status, _, err, _ = counted("steps=200", "--out", f"part-{kind}", "--resume")
        check("but not to fewer steps", status == 1 and "ends at step 200" in err, status, err)
        if kind != "computed":
            kills(text, kind, whole)


def changed(path, before):
    """The time of the checkpoint, where it is another one than before; else None."""
    try:
        now = os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
    return now if now != before else None


def killed(arguments, folder, kill):
    """Whether the training was killed as it went on, after the first or second checkpoint that it wrote and some moments."""
    checkpoint = os.path.join(folder, "counted-net.checkpoint")
    resume = ["--resume"] * os.path.exists(checkpoint)
    before = changed(checkpoint, None)
    child = subprocess.Popen([PDN, *arguments, "--out", folder, *resume], cwd=HERE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    for _ in range(1 + kill % 2):
        while child.poll() is None and not changed(checkpoint, before):
            time.sleep(0.001)
        before = changed(checkpoint, None)
    time.sleep(0.003 * kill)
    child.kill()
    return child.wait() < 0


def kills(text, kind, whole):
    """Killed eight times. A training that was over before it could be (this machine did something else) begins anew: how
    soon a kill comes is not what is checked."""
    program("counted.pdn", text)
    folder = os.path.join(HERE, f"killed-{kind}")
    arguments = ["run", "counted.pdn", f"steps={20000 if kind == 'with' else 800000}", "--threads", "1", "--quiet"]
    status, _, err, _ = pdn(*arguments, "--out", f"longer-{kind}")
    longer = content(f"longer-{kind}", "net.safetensors") if status == 0 else whole
    check("a longer training ends elsewhere", longer != whole, status, err)
    seen = 0
    for _ in range(40):
        if killed(arguments, folder, seen):
            seen += 1
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if seen == 8:
            break
    check(f"killed {kind} data", seen == 8, seen)
    status, _, err, _ = pdn(*arguments, "--out", folder, "--resume")
    check("and resumed each time, it ends with the same bits", status == 0 and
          content(f"killed-{kind}", "net.safetensors") == longer, status, err)


def checkpoints_are_judged():  # and NO_CHECKPOINT
    program("counted.pdn", WITH_DATA)
    status, _, err, _ = counted("steps=100", "--out", "judged", "--resume")
    check("--resume without a checkpoint says so", status == 0 and "warning" in err and "begins anew" in err, status, err)
    path = os.path.join(HERE, "judged", "counted-net.checkpoint")
    good = content("judged", "counted-net.checkpoint")
    for was, now, message in ((b'"epoch":"33"', b'"epoch":"34"', "contradicts itself"),
                              (b'"step":"100"', b'"step":"900"', "contradicts itself"),
                              (b'"epoch":"33"', b'"epoch":"x3"', "broken checkpoint")):
        check("the checkpoint says how far it is", good.count(was) == 1, was)
        with open(path, "wb") as file:
            file.write(good.replace(was, now))
        status, _, err, _ = counted("--out", "judged", "--resume")
        check(f"{now} is refused", status == 1 and message in err and "begin anew" in err, status, err)
    with open(path, "wb") as file:
        file.write(good)
    arrays("x.npy", 24, 16)
    status, _, err, _ = counted("--out", "judged", "--resume")
    check("another size of the data is refused", status == 1 and "23 samples" in err and "24 samples" in err, status, err)
    arrays("x.npy", 23, 16)
    program("counted.pdn", WITH_DATA.replace("adam(rate = 1e-2)", "adam(rate = 1e-2, schedule = cosine())"))
    status, _, err, _ = counted("steps=100", "--out", "cosine")
    check("a schedule of a length", status == 0, err)
    status, _, err, _ = counted("steps=200", "--out", "cosine", "--resume")
    check("does not go on with another length", status == 1 and "the length of the schedule" in err, status, err)


LOOP = """experiment turns {
    data set = arrays("x.npy")
    data other = arrays("y.npy")
    for x in set {
        save x to "x.npy"
        for y in other { save [x, y] to "pair.npy" }
    }
}
"""


def numbers_of(*path):
    data = content(*path)
    return data[10 + struct.unpack("<H", data[8:10])[0]:]


def loops_save():
    arrays("x.npy", 3, 16)
    arrays("y.npy", 2, 16)
    program("turns.pdn", LOOP)
    folder = os.path.join(HERE, "[turns]")
    status, _, err, _ = pdn("run", "turns.pdn", "--out", folder, "--precision", "f64")
    names = [f"pair_000{i}_000{k}.npy" for i in range(3) for k in range(2)] + [f"x_000{i}.npy" for i in range(3)]
    check("in a loop over data each sample has its file", status == 0 and sorted(os.listdir(folder)) == names, status, err)
    x, y = numbers_of("x.npy"), numbers_of("y.npy")
    for i in range(3):
        sample = x[128 * i:128 * (i + 1)]
        check(f"sample {i} is in it", numbers_of("[turns]", f"x_000{i}.npy") == sample)
        for k in range(2):
            check("and pairs of loops", numbers_of("[turns]", f"pair_000{i}_000{k}.npy") ==
                  sample + y[128 * k:128 * (k + 1)], i, k)
    read = LOOP.rstrip().rstrip("}") + '    print "mean": mean(array("[turns]/x_0001.npy"))\n}\n'
    program("turns.pdn", read)
    status, _, err, _ = pdn("run", "turns.pdn", "--out", folder)
    check("which this run does not read", status == 1 and "x_0001.npy is read before" in err, status, err)


def build_targets():
    program("twice.pdn", "operator twice()(u) = 2 * u\n")
    for options, message in ((["--cpu", "nonsense"], "there is no processor 'nonsense'"),
                             (["--target", "x86_64-linux-gnu", "--cpu", "skylak"], "near it: skylake"),
                             (["--target", "x86_64-linux-gnu", "--cpu", "pentium"], "64-bit"),
                             (["--target", "x86_64-linux-gnu", "--cpu", ""], "there is no processor ''"),
                             (["--target", "aarch64-linux-gnu", "--cpu", "skylake"], "for aarch64-linux-gnu"),
                             (["--target", "nonsense"], "there is no target 'nonsense'"),
                             (["--target", "aarch65-linux-gnu"], "near it: aarch64"),
                             (["--target", "amdgcn"], "there is no target 'amdgcn'"),
                             (["--target", "x86_64-linux-gnu", "--features", "+avx3"], "near it: avx"),
                             (["--target", "x86_64-linux-gnu", "--features", "avx2"], "+NAME")):
        status, out, err, _ = pdn("build", "twice.pdn", "twice", "-o", "built", *options)
        check(f"{options} is refused", status == 2 and message in err and err.count("\n") == 1 and not out, status, err)
    check("and nothing is built", not os.path.exists(os.path.join(HERE, "built")))
    for options in (["--cpu", "native"], ["--target", "x86_64-linux-gnu", "--cpu", "skylake", "--features", "+avx2,-fma"],
                    ["--target", "aarch64-linux-gnu"]):
        status, _, err, _ = pdn("build", "twice.pdn", "twice", "-o", "built", *options)
        check(f"{options} is built", status == 0 and not err, status, err)
    for options, name in ((["--cpu", "help"], "x86-64-v3"), (["--cpu", "help"], "cortex-a72"),
                          (["--features", "help"], "avx2"), (["--target", "help"], "aarch64")):
        triple = [] if "--target" in options else \
            ["--target", "aarch64-linux-gnu" if name.startswith("cortex") else "x86_64-linux-gnu"]
        status, out, err, _ = pdn("build", *options, *triple)
        check(f"{options} lists them", status == 0 and name in out.split("\n") and not err, status, err)
    status, out, err, _ = pdn("build", "--target", "nonsense", "--cpu", "help")
    check("there are none of another target", status == 2 and "no target" in err and not out, status, err)


def main():
    program("heat.pdn", HEAT)
    for part in (command_line, streams, cache, hostile, outputs_survive, trainings_resume,
                 steps_resume, checkpoints_are_judged, loops_save, build_targets):
        part()
    print(f"{COUNT - len(FAULTS)} passed, {len(FAULTS)} failed, 0 skipped")
    sys.exit(1 if FAULTS else 0)


main()
