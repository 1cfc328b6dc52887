#!/usr/bin/env python3
"""What a training says before its first step about the memory that it will need, against the greatest resident set as the system
counts it: many states, many gradients, large batches, samples of several sizes; cold and from the cache, for several threads and
--memory. The margin: a tenth and 4 MiB more than was said at most, a quarter and 4 MiB less (huge pages may be there as a whole or
not, and room for scratch is not always used). And that a training which does not fit is refused before it begins."""
import os
import re
import subprocess
import sys
import tempfile

PDN = os.environ["PDN"]
MORE, LESS, BESIDE = 1.1, 0.75, 4
UNITS = {"bytes": 1 / 1048576, "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}

STATES = """
network deep(depth)(f) {
    param A        = conv(1 -> 16, size = 1)
    param K[depth] = conv(16 -> 16, size = 3)
    param B        = conv(16 -> 1, size = 1)
    u[0]   = A(f)
    u[k+1] = u[k] + 0.1 * tanh(K[k](u[k]))
    return B(u[depth])
}
experiment e {
    data set = signals(cells = 20000, count = 8, batch = 4)
    let net = deep(depth = 20)
    train net on x in set for 2 epochs with sgd() {
        minimise mean((net(x) - x)^2)
    }
}
"""
GRADIENTS = """
network wide()(f) {
    param A = conv(1 -> 512, size = 1)
    param K = conv(512 -> 512, size = 5)
    param B = conv(512 -> 1, size = 1)
    return B(relu(K(A(f))))
}
experiment e {
    data set = signals(cells = 8, count = 32, batch = 16)
    let net = wide()
    train net on x in set for 1 epochs with adam() {
        minimise mean((net(x) - x)^2)
    }
}
"""
BATCHES = """
operator scaled()(f) {
    param a = 0.5
    return a * f
}
experiment e {
    data set = signals(cells = 200000, count = 64, batch = 32)
    let net = scaled()
    train net on x in set for 1 epochs with sgd() {
        minimise mean((net(x) - x)^2)
    }
}
"""
PICTURES = """
network net()(f) {
    param K = conv(1 -> 24, size = 5)
    param L = conv(24 -> 1, size = 5)
    return L(relu(K(f)))
}
experiment e {
    data set = images("%s/*.pgm", batch = 4)
    let net = net()
    train net on x in set for 2 epochs with sgd() {
        minimise mean((net(x) - x)^2)
    }
}
"""
MEETS = """
network net()(f) {
    param K = conv(1 -> 8, size = 5)
    param L = conv(8 -> 1, size = 5)
    let v = K(f)
    return L(relu(v - batch_mean(channel_mean(v))))
}
experiment e {
    data set = signals(cells = 40000, count = 8, batch = 4)
    let net = net()
    train net on x in set for 2 epochs with sgd() {
        minimise mean((net(x) - x)^2)
    }
}
"""
AHEAD = BATCHES.replace("count = 64", "count = 32").replace("1 epochs", "3 epochs") # batches of other epochs are read ahead
LARGE = BATCHES.replace("200000", "100000000").replace("64", "2000").replace("32", "2000")


def run(folder, program, *options):
    """(exit status, peak in MiB, standard error)"""
    path = os.path.join(folder, "program.pdn")
    with open(path, "w", encoding="utf-8") as file:
        file.write(program)
    command = [PDN, "run", path, "--out", folder, "--cache", os.path.join(folder, "cache"), "--quiet", "--time", *options]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        return process.returncode, usage.ru_maxrss / 1024, errors.read()


def main():
    if "sanitize" in os.environ.get("PDN_BUILD", "") or "debug" in os.environ.get("PDN_BUILD", ""):
        print("a sanitizer or valgrind takes memory of its own")
        return 77
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="pdn-check-") as folder:
        for i, (width, height) in enumerate([(200, 150), (64, 64), (500, 400), (300, 100)] * 3):
            with open(os.path.join(folder, f"{i}.pgm"), "wb") as file:
                file.write(b"P5 %d %d 255\n" % (width, height) + bytes((7 * k + i) % 251 for k in range(width * height)))
        cases = [(name, program, options) for name, program in
                 (("states", STATES), ("gradients", GRADIENTS), ("batches", BATCHES), ("pictures", PICTURES % folder),
                  ("meets", MEETS), ("ahead", AHEAD))
                 for options in (["--threads", "1"], ["--threads", "2"], ["--threads", "2", "--no-cache"])]
        cases.append(("states", STATES, ["--threads", "2", "--memory", "8M"]))
        for name, program, options in cases:
            run(folder, program, "--threads", "1") # into the cache
            status, peak, errors = run(folder, program, *options)
            said = re.search(r"^train \w+: about ([0-9.]+) (\w+) of memory(.*)$", errors, re.MULTILINE)
            if status or not said:
                print(f"{name} {' '.join(options)}: exit status {status}\n{errors}")
                return 1
            expected = float(said[1]) * UNITS[said[2]]
            good = LESS * expected - BESIDE <= peak <= MORE * expected + BESIDE and ("--memory" in options) == ("again" in said[3])
            print(f"{name} {' '.join(options)}: {said[0]}; {peak:.1f} MiB were used{'' if good else ': WRONG'}")
            wrong += not good
        status, _, errors = run(folder, LARGE, "--threads", "2")
        # TRAINING_TOO_LARGE
        if status != 1 or "error: training net needs" not in errors or "help: --threads 1 needs less" not in errors:
            print(f"too large: exit status {status}\n{errors}")
            wrong += 1
    return 1 if wrong else 0


sys.exit(main())
