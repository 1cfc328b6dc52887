#!/usr/bin/python3
"""The profile of `pdn bench`: launches are those that the loops count, amounts those counted by hand, shares sum to 1."""
import json
import math
import os
import subprocess
import sys
import tempfile

PDN = os.environ.get("PDN", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "release", "bin", "pdn"))
SCRATCH = tempfile.TemporaryDirectory(prefix="pdn-bench-")
FAULTS = []
COUNT = 0

HEAT = """use schemes
pde heat(u) {
    dt(u) = laplacian(u)
}
experiment warm {
    input cells = 64
    input steps = 37
    grid G = box([0, cells], [0, cells], cells = [cells, cells])
    let u = explicit(heat, tau = 0.2, steps = steps)(G.x * G.y)
    print "mean": mean(u)
    save u to "u.npy"
}
experiment other {
    grid G = box([0, 8], cells = [8])
    print "mean": mean(G.x)
}
"""
NETWORK = """network net()(u) {
    param K = conv(1 -> 4, size = 3)
    return u + adjoint(K)(relu(K(u)))
}
experiment learn {
    grid G = box([0, 48], [0, 40], cells = [48, 40])
    let net = net()
    train net for 5 steps with sgd(rate = 1e-3) {
        minimise mean(net(G.x * G.y)^2)
    }
    print "loss": mean(net(G.x * G.y))
}
"""
LAYERS = """network net(depth)(f) {
    param A = conv(1 -> 1, size = 3)
    param K[depth] = conv(1 -> 1, size = 3)
    u[0]   = START
    u[k+1] = tanh(K[k](u[k]))
    return u[depth]
}
experiment learn {
    input depth = 5
    grid G = box([0, 48], cells = [48])
    let net = net(depth = depth)
    train net for 4 steps with sgd(rate = 1e-3) {
        minimise mean(net(G.x)^2) + mean(net.A(G.x)^2)
    }
}
"""
# Convolutions of many channels are kept, too: they are dear to make again.
DEEP = """network net()(f) {
    param A = conv(1 -> 64, size = 3)
    param K[6] = conv(64 -> 64, size = 3)
    u[0]   = A(f)
    u[k+1] = relu(K[k](u[k]) + 0.1)
    return u[6]
}
experiment learn {
    grid G = box([0, 16], [0, 16], cells = [16, 16])
    let net = net()
    train net for 2 steps with sgd(rate = 1e-5) {
        minimise mean(net(G.x * G.y)^2)
    }
}
"""
SWEEPS = """experiment sweeps {
    input width  = 1024
    input height = 1024
    grid G = box([0, width], [0, height], cells = [width, height])
    let S(u) = u + 0.1 * laplacian(u / (1 + u^2))
    let u = S(S(S(S(S(S(S(S(G.x * G.y))))))))
    print "mean": mean(u)
}
"""


def check(what, true, *shown):
    global COUNT
    COUNT += 1
    if not true:
        FAULTS.append(what)
        print(f"wrong: {what}", *(str(s)[-600:] for s in shown))


def run(text, *arguments, status=0):
    """Standard output of pdn bench."""
    path = os.path.join(SCRATCH.name, "program.pdn")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run([PDN, "bench", path, *arguments, "--out", SCRATCH.name], capture_output=True, text=True, check=False)
    check(f"exit status of {arguments}", done.returncode == status, done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def profile(text, *arguments):
    """The object of a program's one experiment, with what holds for every one looked at."""
    found = json.loads(run(text, *arguments, "--json"))
    rows, total = found["rows"], found["total"]
    for what, sum_of in (("shares", 1), *((key, total[key]) for key in ("seconds", "launches", "flops", "bytes"))):
        key = "share" if what == "shares" else what
        check(f"{what} sum", math.isclose(sum(row[key] for row in rows), sum_of, rel_tol=1e-6), rows)
    check("the longest first", [row["seconds"] for row in rows] == sorted((row["seconds"] for row in rows), reverse=True))
    for row in rows:
        least = max(row["flops"] / found["rates"]["flops"], row["bytes"] / found["rates"]["bytes"])
        if row["limit"] is not None:
            check("the limit", math.isclose(row["limit"], least / row["seconds"], rel_tol=1e-4), row)
    check("rows are a whole run", total["seconds"] <= 1.001 * found["seconds"], total, found["seconds"])
    check("rates", found["rates"]["flops"] > 1e9 and found["rates"]["bytes"] > 1e8, found["rates"])
    check("memory", found["memory"] > 1 << 20)
    check("stages", found["stages"]["plan"] > 0 and not set(found["stages"]) & {"run"}, found["stages"])
    return found


def rows_of(found, work):
    return [row for row in found["rows"] if row["work"] == work]


def launches():
    for threads in (1, 2):
        for cells, steps in ((64, 37), (96, 11)):
            found = profile(HEAT, "warm", f"cells={cells}", f"steps={steps}", "--threads", str(threads), "--repeat", "3")
            check("runs", len(found["runs"]) == 3 and found["threads"] == threads and found["precision"] == "f32", found)
            step = [row for row in rows_of(found, "kernel") if row["scheme"] == "explicit"]
            check("one row for the step", len(step) == 1 and step[0]["grid"] == [cells, cells], step)
            check("launches", step[0]["launches"] == step[0]["passes"] == steps, step)
            # four differences, their three sums, u + tau times that, fused; the spacing is 1
            check("flops by hand", step[0]["flops"] == steps * cells**2 * 9, step[0]["flops"] / steps / cells**2)
            check("bytes by hand", step[0]["bytes"] == steps * cells**2 * 8, step)
            check("the place", step[0]["where"]["line"] == 9 and step[0]["where"]["file"].endswith("program.pdn"), step)
            effects = {row["what"]: row["launches"] for row in rows_of(found, "effect")}
            check("effects", effects == {"print": 1, "save": 1}, effects)
    check("files are saved", os.path.exists(os.path.join(SCRATCH.name, "u.npy")))
    double = profile(HEAT, "warm", "--precision", "f64", "--repeat", "1")
    step = [row for row in rows_of(double, "kernel") if row["scheme"] == "explicit"][0]
    check("bytes in f64", step["bytes"] == 37 * 64**2 * 16, step)


def together():
    """Steps of a loop on a large field go through memory together: it is read and written once for several."""
    cells, steps = 2048, 23
    found = profile(HEAT, "warm", f"cells={cells}", f"steps={steps}", "--threads", "1", "--repeat", "1")
    groups, alone = rows_of(found, "group"), [row for row in rows_of(found, "kernel") if row["scheme"] == "explicit"]
    check("groups", groups and sum(group["passes"] for group in groups) < steps / 3, groups)
    for group in groups:
        each = group["launches"] / group["passes"]
        check("steps a pass", each >= 2 and group["what"] == f"{each:.0f} steps in one pass", group)
        check("stages", [(s["launches"], s["grid"]) for s in group["stages"]] == [(group["launches"], [cells, cells])], group)
        check("bytes of a group", group["bytes"] == group["passes"] * cells**2 * 8, group)
        check("flops of a group", group["flops"] == group["launches"] * cells**2 * 9, group)
    check("all steps", sum(row["launches"] for row in groups + alone) == steps, groups, alone)
    small = profile(SWEEPS, "--threads", "1", "--repeat", "1", "width=16", "height=16")
    check("small fields stay alone", not rows_of(small, "group"), small["rows"])
    for width, height in ((1024, 1024), (16384, 128), (32768, 64)): # rows so wide that few of them stay in the cache
        found = profile(SWEEPS, "--threads", "1", "--repeat", "1", f"width={width}", f"height={height}")
        check("each launch once", found["total"]["launches"] == small["total"]["launches"], found["rows"])
        flops, cells = found["total"]["flops"] / width / height, small["total"]["flops"] / 256
        check("flops do not depend on what runs together", math.isclose(flops, cells, rel_tol=1e-6), flops, cells)
    found = profile(SWEEPS, "--threads", "1", "--repeat", "1")
    for group in rows_of(found, "group"):
        alone = 2 * 4 * 1024**2 * group["launches"] # each reads a field and writes one
        check("launches together move less", group["bytes"] < alone and len(group["stages"]) <= group["launches"], group)
    check("launches in a row are a group", rows_of(found, "group"), found["rows"])


def networks():
    found = profile(NETWORK, "--threads", "1", "--repeat", "2")
    inner = [row for row in found["rows"] if row["program"] == "train net"]
    forward = [row for row in inner if row["work"] == "convolution" and row["what"].endswith("3×3")]
    back = [row for row in inner if row["work"] == "convolution" and "weights" in row["what"]]
    check("convolutions of the training", forward and back, inner)
    for row in forward + back:
        check("flops of a convolution", row["flops"] == row["passes"] * 2 * 9 * 4 * 48 * 40, row)
    # of the picture, and of the cotangent of what the transposed one made
    check("once a step", [row["passes"] for row in forward] == [5, 5], forward)
    check("channels", all(row["channels"] == [1, 4] for row in forward), forward)
    check("the training itself", len(rows_of(found, "task")) == 1, found["rows"])
    check("host programs", {row["program"] for row in rows_of(found, "host")} == {"", "train net"}, found["rows"])


def layers():
    """The derivative by what a layer reads is not made for the first one, where that is data."""
    for start, times in (("f", 4), ("A(f)", 5)):
        found = profile(LAYERS.replace("START", start), "--threads", "1", "--repeat", "1", "depth=5")
        back = [row for row in rows_of(found, "convolution") if row["what"] == "convolution 0, 3, transposed"]
        check("transposed convolutions of 5 layers", sum(row["passes"] for row in back) == 4 * times, found["rows"])


def kept():
    """States that are kept for the way back are made in their place, and read there; where steps are done again, the next step
    back has a copy."""
    for memory, copies in (("1M", 0), ("1000", 2 * 5)):
        found = profile(DEEP, "--threads", "1", "--repeat", "1", "--memory", memory)
        rows = [row for row in found["rows"] if row["what"] == "copies of states" or row["flops"] == 0 and row["work"] == "kernel"]
        check(f"copies of states with {memory}", sum(row["launches"] for row in rows) == copies, found["rows"])


def tuning():
    """--tune tries the ways, keeps what is quicker than the model's, and programs are computed so from then on."""
    program = NETWORK.replace("1 -> 4", "4 -> 16").replace("(relu(K(u)))", "(relu(K(relu(adjoint(K)(K(u))))))")
    program = program.replace("G.x * G.y", "0.001 * concat(G.x, G.y, G.x, G.y)").replace("1e-3", "1e-9")
    folder = os.path.join(SCRATCH.name, "cache")
    lines = [json.loads(line) for line in run(program, "--tune", "--json", "--repeat", "3", "--quiet", "--cache", folder).splitlines()]
    trials = [line for line in lines if "convolution" in line]
    check("trials", len(trials) >= 3 and "rows" in lines[-1], lines)
    for trial in trials:
        took = trial["seconds"]
        check("the model's and the kept one were tried", trial["model"] in took and trial["kept"] in took, trial)
        check("what is kept is quicker", took[trial["kept"]] <= took[trial["model"]], trial)
        if trial["kept"] == trial["model"]:
            most = took[trial["model"]]
            check("nothing is much quicker", min(took.values()) >= min(0.97 * most, most - 20e-6), trial)
    check("forward has several ways", any(len(trial["seconds"]) > 1 for trial in trials), trials)
    rows = json.loads(run(program, "--json", "--repeat", "1", "--cache", folder))["rows"]
    for trial in trials:
        way = "" if trial["kept"] == trial["model"] else f", by {trial['kept']}"
        check("it is computed so", trial["convolution"] + way in [row["what"] for row in rows], trial, rows)
    plain = run(program, "--tune", "--repeat", "1", "--quiet", "--cache", folder)
    check("a table", "channels" in plain and "the model's" in plain, plain)
    check("none to tune", "no convolution" in run(HEAT, "warm", "--tune", "--quiet", "--repeat", "1", "--cache", folder))


def text():
    lines = run(HEAT, "warm", "--repeat", "1").splitlines()
    check("heading", lines[0].startswith("warm: ") and " 1 run," in lines[0], lines[0])
    check("columns", lines[2].split() == ["where", "what", "grid", "channels", "launches", "ms", "time", "GFLOP/s", "GB/s", "limit"],
          lines[2])
    check("the sum", any(line.split()[:1] == ["all"] and "100.0%" in line for line in lines), lines)
    check("results are not printed", not any(line.startswith("mean:") for line in lines), lines)
    both = run(HEAT, "--json").splitlines()
    check("several experiments", [json.loads(line)["experiment"] for line in both] == ["warm", "other"], both)
    check("several runs", all(len(json.loads(line)["runs"]) > 1 for line in both), both)


def faults():
    check("an unknown experiment", "worm" in run(HEAT, "worm", status=1))
    check("a failed assertion", "assert" in run(HEAT.replace('print "mean": mean(u)', "assert mean(u) < 0"), "warm", status=1))
    check("--interpret", "--interpret" in run(HEAT, "--interpret", status=2))
    check("--repeat", "--repeat" in run(HEAT, "--repeat", "1001", status=2))
    check("what does not parse", "error" in run("experiment {", status=1))


for part in (launches, together, networks, layers, kept, tuning, text, faults):
    part()
print(f"{COUNT} checks, {len(FAULTS)} wrong")
sys.exit(1 if FAULTS else 0)
