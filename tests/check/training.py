#!/usr/bin/python3
"""Training as `pdn run` does it: several networks at once, and their files."""
import math
import os
import subprocess
import sys
import tempfile

import numpy as np

import _safetensors

PDN = os.environ["PDN"]
SCRATCH = tempfile.TemporaryDirectory(prefix="pdn-training-")
HERE = SCRATCH.name
FAULTS = []
COUNT = 0


def pdn(*arguments):
    done = subprocess.run([PDN, *arguments], cwd=HERE, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def check(what, true, *shown):
    global COUNT
    COUNT += 1
    if not true:
        FAULTS.append(what)
        print(f"wrong: {what}", *(str(s)[-600:] for s in shown))


def program(name, text):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        file.write(text)


def path(*parts):
    return os.path.join(HERE, *parts)


def content(*parts):
    with open(path(*parts), "rb") as file:
        return file.read()


def arrays(*parts):
    return _safetensors.load(path(*parts))[0]


def save(where, made):
    header, data = {}, b""
    for name, array in made.items():
        end = len(data) + array.nbytes
        header[name] = {"dtype": "F32" if array.itemsize == 4 else "F64", "shape": list(array.shape),
                        "data_offsets": [len(data), end]}
        data += array.tobytes()
    with open(where, "wb") as file:
        file.write(_safetensors.dump(header, data))


# ---- several at once -------------------------------------------------------------------------

NETS = """network filter()(f) {
    param K = conv(1 -> 1, size = 3, bias = 1)
    return K(f)
}

network filter_1()(f) {
    param K = conv(1 -> 1, size = 3)
    return K(f)
}

network optimiser()(f) {
    param mean = 1
    return mean * f
}

network head(inner)(f) {
    return filter()(inner(f)) + optimiser()(f)
}
"""
SEVERAL = NETS + """
experiment pair {
    input epochs = 4
    data jumps = signals(cells = 16, count = 8, batch = 4)
    let A = filter()
    let B = filter_1()
    let C = filter()
    let H = head(A)
    train WHAT on x in jumps for epochs epochs with adam(rate = 1e-2) {
        minimise mean((A(x) - x)^2) + mean((B(x) - 2 * x)^2) + mean((H(x) - C(x))^2)
    }
    save A to "A.safetensors"
    save B to "B.safetensors"
    save C to "C.safetensors"
}
"""


def several():
    """Parameters of one name in several networks, and in one that is made of others: names of their own."""
    state = {"optimiser/mean", "optimiser/squares", "optimiser/updates"}
    for what, names in (
            ("A, B", {"filter.K", "filter.K.bias", "filter_1.K"}),
            ("B, C", {"filter_1.K", "filter_2.K", "filter_2.K.bias"}),
            ("[A, B]", {"filter.K", "filter.K.bias", "filter_1.K"}),
            ("A", {"K", "K.bias"}),
            ("H", {"filter.K", "filter.K.bias", "head.filter.K", "head.filter.K.bias", "head.optimiser.mean"})):
        program("several.pdn", SEVERAL.replace("WHAT", what))
        status, _, err = pdn("run", "several.pdn", "--out", "whole", "--quiet")
        check(f"train {what}", status == 0, err)
        if status:
            continue
        stem = "pair-" + "".join(c if c.isalnum() else "_" for c in what)
        check(f"the names of {what}", set(arrays("whole", stem + ".checkpoint")) == names | state,
              list(arrays("whole", stem + ".checkpoint")))
        check(f"the history of {what}", content("whole", stem + ".history.csv").count(b"\n") == 5)
        pdn("run", "several.pdn", "epochs=2", "--out", "part", "--quiet")
        status, _, err = pdn("run", "several.pdn", "--out", "part", "--quiet", "--resume")
        check(f"{what} goes on", status == 0 and not err, err)
        check(f"{what}: the same bits", all(content("whole", f"{net}.safetensors") == content("part", f"{net}.safetensors")
                                            for net in "ABC"))


# ---- what is loaded before it is applied ---------------------------------------------------------

HELD = """network layer()(f) {
    param K = conv(1 -> 1, size = 3, init = INIT)
    return K(f)
}

network shared(f) {
    param c = FACTOR
    return c * f
}

let base = layer()

network uses()(f) = shared(f) + base(f)

experiment held {
    grid G = box([0, 8], cells = [8])
    let A = layer()
    let D(u) = A(u) + layer()(u)
    let U = uses()
    LOAD
    print "local": mean(D(G.x)), parameters(D)
    print "of the program": mean(U(G.x)), parameters(U)
    SAVE
}
"""


def loads_of_the_unapplied():
    save = 'save D to "D.safetensors"\n    save U to "U.safetensors"'
    load = f'load D from "{path("D.safetensors")}"\n    load U from "{path("U.safetensors")}"'
    program("held.pdn", HELD.replace("INIT", "he").replace("FACTOR", "3").replace("LOAD", "").replace("SAVE", save))
    status, out, err = pdn("run", "held.pdn")
    check("what is held is saved", status == 0, err)
    program("held.pdn", HELD.replace("INIT", "zeros").replace("FACTOR", "0").replace("LOAD", load).replace("SAVE", ""))
    status, again, err = pdn("run", "held.pdn")
    check("and loaded before it is applied", status == 0 and again == out, err, out, again)


# ---- what is loaded keeps to its ranges and constraints ------------------------------------------

KEPT = """precision PRECISION

network kept()(f) {
    param K[2] = conv(1 -> 2, size = 3, init = normal(1), boundary = periodic) subject to norm(K) <= 1
    param S    = conv(1 -> 2, size = 3, init = normal(1)) subject to sum(S) == 0
    param v    = normal(4, 10) in [-0.1, 0.1]
    param W    = conv(1 -> 1, size = [3], init = constant(3)) subject to norm(W) <= 1
    return f + sum(K[0](f)) + sum(K[1](f)) + sum(S(f)) + sum(v)
}

experiment applied {
    grid G = box([0, 8], cells = [8])
    let net = kept()
    LOAD
    print "mean": mean(net(G.x))
    print "norms": norm(net.K[0]), norm(net.K[1])
    print "largest": max(net.v)
    save net to "again.safetensors"
}
"""


def constraints_of_the_loaded():
    source, kinds, edge = path("net.safetensors"), {"f32": "<f4", "f64": "<f8"}, {}
    for precision in kinds:  # starts that are outside are moved to the edge
        program("kept.pdn", KEPT.replace("PRECISION", precision).replace("LOAD", ""))
        status, _, err = pdn("run", "kept.pdn", "--out", precision)
        check("starts that are outside", status == 0, err)
        edge[precision] = arrays(precision, "again.safetensors")
        check("W is never applied, and has no norm", (edge[precision]["W"] == 3).all(), edge[precision]["W"])

    def run(made):
        save(source, made)
        ran = pdn("run", "kept.pdn", "--out", "kept")
        built = pdn("build", "kept.pdn", "kept", "--weights", source, "--size", "?", "-o", "built")
        check("run and build agree about a file", ran[0] == built[0], ran, built)
        return ran

    def changed(name, change):
        made = {n: a.copy() for n, a in edge[precision].items()}
        made[name].flat[0] = change(made[name].flat[0])
        return made

    for precision, kind in kinds.items():
        program("kept.pdn", KEPT.replace("PRECISION", precision).replace("LOAD", 'load net from "net.safetensors"'))
        status, _, err = run(edge[precision])
        check("what is on the edge", status == 0, err)
        check("is loaded to the bit", all(np.array_equal(arrays("kept", "again.safetensors")[n], a)
                                          for n, a in edge[precision].items()))
        other = edge["f64" if precision == "f32" else "f32"]
        status, out, err = run(other)
        numbers = dict(line.split(": ") for line in out.splitlines())
        check("so is what rounding has moved beyond", status == 0, err)
        if status == 0:
            check("its norms are proved", all(float(n) <= 1 for n in numbers["norms"].split()), out)
            check("its range is kept", float(arrays("kept", "again.safetensors")["v"].max()) <= 0.1, out)
        most = np.abs(edge[precision]["v"]).max()
        for what, made, message in (
                ("a norm", changed("K", lambda x: x + math.copysign(0.01, x)), "the norm of K[0] is proved to be at most 1."),
                ("a sum", changed("S", lambda x: x + 0.01), "the sum of a filter of S is 0.0"),
                ("a range", changed("v", lambda x: -most - 0.001), "v holds -0.101, and its range is from -0.1 to 0.1"),
                ("a NaN", changed("K", lambda x: np.nan), "K[0] holds what is not a number"),
                ("infinity", changed("W", lambda x: -np.inf), "W holds infinity")):
            status, _, err = run({n: a.astype(kind) for n, a in made.items()})
            check(f"{what} outside is refused, with the numbers", status == 1 and message in err and
                  "change them, or the file" in err, status, err)


# ---- --resume with another length ------------------------------------------------------------------

LENGTH = NETS + """
experiment long {
    input n = 6
    data jumps = signals(cells = 16, count = 8, batch = 4)
    let A = filter()
    train A on x in jumps for n epochs with adam(rate = 1e-2, schedule = SCHEDULE) {
        minimise mean((A(x) - x)^2)
    }
    save A to "A.safetensors"
}
"""


def other_lengths():
    """Going on for longer is the longer training, or an error where the schedule depends on the length; a shorter one is
    an error."""
    for schedule, fixed in (("constant()", False), ("[warmup(3), step(every = 4)]", False), ("cosine(over = 20)", False),
                            ("cosine()", True), ("[warmup(3), cosine()]", True)):
        program("long.pdn", LENGTH.replace("SCHEDULE", schedule))
        pdn("run", "long.pdn", "n=8", "--out", "longer", "--quiet")
        status, _, err = pdn("run", "long.pdn", "--out", "long", "--quiet")
        kept = content("long", "A.safetensors")
        check(f"trained with {schedule}", status == 0, err)
        status, _, err = pdn("run", "long.pdn", "n=2", "--out", "long", "--quiet", "--resume")
        check(f"a shorter one with {schedule}", status == 1 and "begin anew without --resume" in err and
              content("long", "A.safetensors") == kept, status, err)
        status, _, err = pdn("run", "long.pdn", "n=8", "--out", "long", "--quiet", "--resume")
        if fixed:
            check(f"a longer one with {schedule}", status == 1 and "the length of the schedule" in err, status, err)
        else:
            check(f"a longer one with {schedule}", status == 0 and
                  content("long", "A.safetensors") == content("longer", "A.safetensors"), status, err)


# ---- a training that stops ------------------------------------------------------------------------

DIVERGES = """network scaled()(f) {
    param a = 3
    return a * f
}

experiment diverges {
    input steps = 400
    DATA
    let A = scaled()
    train A ON for steps steps with sgd(rate = 1e-3) {
        minimise -mean(exp(A(0 * x + 1)))
        every 2 steps { report "a": A.a }
    }
}
"""


def histories_of_what_stopped():
    """A loss that overflows: the rows up to there are in the file, also where steps are too quick to be written one by one."""
    for data, on, x in (("", "", "grid G = box([0, 1], cells = [8])\n    let x = ones(G.x)"),
                        ("data set = signals(cells = 16, count = 8, batch = 4)", "on x in set", "")):
        program("diverges.pdn", DIVERGES.replace("DATA", data or x).replace(" ON", " " + on if on else ""))
        status, out, err = pdn("run", "diverges.pdn", "--out", "stopped", "--quiet")
        check("it diverges", status == 1 and "the loss is not a finite number" in err, status, err)
        rows = content("stopped", "diverges-A.history.csv").decode().splitlines()
        last = rows[-1].split(",")
        check("the history has a row for every step before", len(rows) > 3 and
              [row.split(",")[1] for row in rows[1:]] == [str(n) for n in range(1, len(rows))], rows[-3:])
        status, _, err = pdn("run", "diverges.pdn", f"steps={last[1]}", "--out", "short", "--quiet")
        check("it ends where the loss was finite for the last time", status == 0, err)
        status, _, err = pdn("run", "diverges.pdn", f"steps={int(last[1]) + 1}", "--out", "short", "--quiet")
        check("one step more stops", status == 1, err)
        check("what was reported is there", out.count("a:") == (len(rows) - 1) // 2 and
              sum(row.count(",") > 4 and row.split(",")[5] != "" for row in rows[1:]) == (len(rows) - 1) // 2, rows[:3])


# ---- what killed runs leave ---------------------------------------------------------------------------

def leftover(name):
    """The temporary file of a process that was killed while it wrote `name`."""
    value = 2166136261
    for byte in name.encode():
        value = ((value ^ byte) * 16777619) & 0xffffffff
    gone = subprocess.Popen(["true"])
    gone.wait()
    return f".pdn-{value:08x}-{gone.pid}-00000001.tmp"


def leftovers_of_killed_saves():
    os.makedirs(path("left"), exist_ok=True)
    program("saves.pdn", NETS + """
experiment saves {
    grid G = box([0, 8], cells = [8])
    let A = filter()
    let u = A(G.x)
    save u to "u.npy"
    save A to "A.safetensors"
    data jumps = signals(cells = 8, count = 2)
    for x in jumps {
        save x to "x.npy"
    }
}
""")
    names = [leftover(name) for name in ("u.npy", "A.safetensors", "B.safetensors", "x_0001.npy")]
    for name in names:
        open(path("left", name), "w", encoding="utf-8").close()
    status, _, err = pdn("run", "saves.pdn", "--out", "left")
    check("what is saved again is cleared of what killed runs left", status == 0 and
          sorted(os.listdir(path("left"))) == sorted(["u.npy", "A.safetensors", "x_0000.npy", "x_0001.npy", names[2]]), err, os.listdir(path("left")))


def main():
    for part in (several, loads_of_the_unapplied, constraints_of_the_loaded, other_lengths, histories_of_what_stopped, leftovers_of_killed_saves):
        part()
    print(f"{COUNT - len(FAULTS)} passed, {len(FAULTS)} failed, 0 skipped")
    sys.exit(1 if FAULTS else 0)


main()
