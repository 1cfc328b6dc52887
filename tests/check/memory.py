#!/usr/bin/env python3
"""Gradients through loops in little memory: the same bits for every --memory, as many steps done again as the
binomial formula says (by dynamic programming, here), and a peak of memory that keeps to the option. And gradients of a
batch: a few of them are in memory, not one for each sample, with the same bits for every number of threads."""

import os
import re
import resource
import subprocess
import sys
import tempfile

PDN = os.environ["PDN"]

PROGRAM = """
scheme diffuse(steps)(f) {
    u[0]   = f
    u[k+1] = u[k] + 0.2 * div(grad(u[k]) / sqrt(1 + norm2(grad(u[k]))))
    return u[steps]
}
experiment e {
    input n = 64
    input steps = 100
    grid G = box([0, n], [0, n], cells = [n, n])
    let f = sin(G.x / 20) * cos(G.y / 30)
    save vjp(diffuse(steps), f)(sin(G.x * G.y / 100)) to "gradient.npy"
}
"""


BATCH = """
network wide()(f) {
    param A = conv(1 -> 512, size = 1)
    param K = conv(512 -> 512, size = 5)
    param B = conv(512 -> 1, size = 1)
    return B(relu(K(A(f))))
}
experiment e {
    input batch = 64
    data set = signals(cells = 8, count = 64, batch = batch)
    let net = wide()
    train net on x in set for 1 steps with sgd() {
        minimise mean((net(x) - x)^2)
    }
    save net to "wide.safetensors"
}
"""

# Convolutions of 16 channels: what they made is kept with the state.
DEEP = """
network deep(depth)(f) {
    param A        = conv(1 -> 16, size = 1)
    param K[depth] = conv(16 -> 16, size = 9)
    param B        = conv(16 -> 1, size = 1)
    u[0]   = A(f)
    u[k+1] = u[k] + 0.1 * tanh(K[k](u[k]))
    return B(u[depth])
}
experiment e {
    data set = signals(cells = 64, count = 2, batch = 2)
    let net = deep(depth = 9)
    train net on x in set for 2 steps with sgd() {
        minimise mean((net(x) - x)^2)
    }
    save net to "deep.safetensors"
}
"""


def least(steps, slots):
    """Fewest steps done again, for a loop of `steps` with room for `slots` states."""
    best = [[0] * (slots + 1) for _ in range(steps + 2)]
    for length in range(2, steps + 2):
        best[length][1] = length * (length - 1) // 2
        for s in range(2, slots + 1):
            best[length][s] = min(
                m + best[length - m][s - 1] + best[m][s] for m in range(1, length)
            )
    return best[steps + 1][slots] - steps


def run(file, out, memory, *values):
    """(bytes of the gradient, states, steps again, peak memory in KiB)"""
    command = [PDN, "run", file, "--out", out, "--time", "--quiet", *values]
    command += ["--cache", os.path.join(out, "cache")]
    if memory:
        command += ["--memory", str(memory)]
    before = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = before.communicate()
    if before.returncode:
        sys.exit(f"{' '.join(command)}: {output}{errors}")
    said = re.search(r"(\d+) steps, room for the states of (\d+) .* (\d+) steps again", errors)
    with open(os.path.join(out, "gradient.npy"), "rb") as f:
        return f.read(), int(said[2]), int(said[3])


def peak(file, out, memory, *values):
    pid = os.fork()
    if pid == 0:
        run(file, out, memory, *values)
        os._exit(0 if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < PEAK else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


TRAINING = """
use schemes
pde cooling()(u) {
    param kappa = 0.2
    dt(u) = kappa * laplacian(u)
}
scheme until_small(a)(x) {
    u[0] = x
    u[k+1] = u[k] - 0.1 * a * u[k]
    until max(abs(u[k+1])) < 0.5
    return u[end]
}
network decay()(f) {
    param a = 1
    return until_small(a)(f)
}
experiment e {
    input steps = 100
    grid G = box([0, 64], [0, 64], cells = [64, 64])
    data jumps = signals(cells = 256, count = 8, batch = 4)
    let F = cooling()
    train F for 3 steps with sgd() { minimise mean(explicit(F, tau = 0.1, steps = steps)(G.x)^2) }
    train F on x in jumps for 2 epochs with sgd() { minimise mean(explicit(F, tau = 0.1, steps = 20)(x)^2) }
    let A = decay()
    train A on x in jumps for 2 epochs with sgd() { minimise mean(A(x + 1)) }
}
"""


def training(file, out):
    """What --time tells of the first step of each training, and --dump-after=plan before it runs."""
    state = 64 * 64 * 4 + 8
    for room in (1, 9, 100):
        command = [PDN, "run", file, "--out", out, "--quiet", "--threads", "2", "--memory", str(room * state)]
        told = subprocess.run(command + ["--time"], capture_output=True, text=True, check=True).stderr
        told = re.findall(r"^train (\w): (\w+) +(\d+) steps, room for the states of (\d+) in \S+ MiB, (\d+) steps again(.*)$",
                          told, re.M)
        expect(f"--time tells of each training once: {told}", [t[:3] for t in told] == [
            ("F", "explicit", "100"), ("F", "explicit", "20"), ("A", "until_small", "13")])
        expect(f"of the steps of the first training: {told[0]}", told[0][3:] == (str(room), str(least(100, room)), ""))
        expect(f"of a batch: {told[1]}", told[1][5] == " (of each of 2 samples at once)" and
               int(told[1][4]) == least(20, int(told[1][3])))
        plan = subprocess.run(command + ["--dump-after=plan"], capture_output=True, text=True, check=True).stdout
        plan = [line for line in plan.splitlines() if re.match("# func 0 tape 0: ", line)]
        expect(f"the plan says so, too: {plan}", len(plan) == 3 and
               f"(explicit) keeps 1 channel on grid 1, 16384 bytes a step; of 100 steps there is room for {room} in" in plan[0]
               and f"and {least(100, room)} steps are done again" in plan[0] and "of every second, fourth" in plan[2])


def trained(file, out, *arguments):
    pid = os.fork()
    if pid == 0:
        done = subprocess.run([PDN, "run", file, "--out", out, "--quiet", "--cache", os.path.join(out, "cache"), *arguments])
        os._exit(0 if done.returncode == 0 and resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < PEAK else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


failures = 0


def expect(what, truth):
    global failures
    if not truth:
        failures += 1
        print(f"memory.py: {what}")


with tempfile.TemporaryDirectory() as folder:
    program = os.path.join(folder, "p.pdn")
    with open(program, "w") as f:
        f.write(PROGRAM)
    state = 64 * 64 * 4 + 8
    whole, slots, again = run(program, folder, "")
    expect(f"all states fit: {slots} of 100, {again} again", slots == 100 and again == 0)
    for room in (1, 2, 3, 5, 8, 20, 50, 99, 100, 1000):
        gradient, slots, again = run(program, folder, room * state)
        expect(f"{room} states: other bits", gradient == whole)
        expect(f"{room} states: room for {slots}", slots == min(room, 100))
        expect(
            f"{room} states: {again} steps again, not {least(100, slots)}",
            again == least(100, slots),
        )
    # 2000 states of 256 KiB would be 500 MiB; the program itself is some tens of MiB
    PEAK = 130 * 1024
    expect(
        "more memory than it was given",
        peak(program, folder, "16M", "n=256", "steps=2000"),
    )
    expect(
        "the peak that is measured here does not grow with the states kept",
        not peak(program, folder, "256M", "n=256", "steps=2000"),
    )
    with open(os.path.join(folder, "t.pdn"), "w") as f:
        f.write(TRAINING)
    training(os.path.join(folder, "t.pdn"), folder)
    with open(program, "w") as f:
        f.write(DEEP)
    networks = []
    for memory in ("64M", "1K", "20K", "50K"):
        PEAK = 200 * 1024
        expect(f"a deep network in {memory}", trained(program, folder, "--memory", memory))
        with open(os.path.join(folder, "deep.safetensors"), "rb") as f:
            networks.append(f.read())
    expect("a network depends on the memory", len(set(networks)) == 1)
    # 64 gradients of 5 MiB would be 320 MiB; the program itself is some tens of MiB, three times as much where LLVM is in it
    with open(program, "w") as f:
        f.write(BATCH)
    networks = []
    for threads in (1, 2, 3):
        PEAK = 200 * 1024
        expect(f"{threads} threads: a gradient for each sample of a batch",
               trained(program, folder, "--threads", str(threads)))
        with open(os.path.join(folder, "wide.safetensors"), "rb") as f:
            networks.append(f.read())
    expect("other bits with other threads", networks[0] == networks[1] == networks[2])
    PEAK = 50 * 1024
    expect("the peak that is measured here does not grow with the parameters", not trained(program, folder))
    for wrong in ("0", "-1", "lots", "5X", "1e30", ""):
        made = subprocess.run(
            [PDN, "run", program, "--memory", wrong, "--out", folder], capture_output=True, text=True
        )
        expect(
            f"--memory '{wrong}': {made.returncode} {made.stderr}",
            made.returncode == 2 and "such as 512M" in made.stderr,
        )

sys.exit(1 if failures else 0)
