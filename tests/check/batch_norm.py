#!/usr/bin/python3
"""Batch normalisation and what else running parameters do: the same steps as PyTorch's, weights, averages and what the
network gives after training; applied several times in a step, in loops too; files; the same bits on any number of
threads and after --resume."""
import os
import re
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("NumPy is not installed (Debian: python3-numpy)")
    sys.exit(77)
try:
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(1)
except ImportError:
    print("PyTorch is not installed (Debian: python3-torch)")
    sys.exit(77)

import _safetensors

PDN = os.environ["PDN"]
SCRATCH = tempfile.TemporaryDirectory(prefix="pdn-batch-norm-")
HERE = SCRATCH.name
FAULTS = []
COUNT = 0
SAMPLES, BATCH, EPOCHS = 7, 3, 4 # the last batch is one sample


def check(what, true, *shown):
    global COUNT
    COUNT += 1
    if not true:
        FAULTS.append(what)
        print(f"wrong: {what}", *(str(s)[-600:] for s in shown))


def near(what, a, b, tolerance):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    error = np.abs(a - b).max() / max(1, np.abs(b).max()) if a.shape == b.shape else np.inf
    check(what, error <= tolerance, error, a.ravel()[:8], b.ravel()[:8])


def pdn(*arguments):
    return subprocess.run([PDN, *arguments], cwd=HERE, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          check=False)


def path(*parts):
    return os.path.join(HERE, *parts)


def content(*parts):
    with open(path(*parts), "rb") as file:
        return file.read()


def arrays(*parts):
    return _safetensors.load(path(*parts))[0]


# `tally` tells which samples a batch has: a sample's second field is a power of 2
PROGRAM = """PRECISION
use layers

network net()(f) {
    param K = conv(1 -> 3, size = 3, boundary = zero)
    param L = conv(3 -> 1, size = 3, boundary = zero)
    param s = uniform(3, 0.5, 1.5)
    param b = normal(3, 0.2)
    let B = MADE
    BODY
}

network tally()(t) {
    param c    = 1
    param seen = 0 with batch_size * mean(t)
    return c * mean(t)
}

experiment learn {
    input epochs = 4
    data set = arrays("x.npy", "t.npy", batch = 3)
    let n = net()
    let T = tally()
    for x in set { save n(x[0]) to "before.npy" }
    save n to "start.safetensors"
    train n, T on x in set for epochs epochs with OPTIMISER {
        minimise mean((n(x[0]) - x[0])^2) + 0 * T(x[1])
        every 1 steps { print "batch": T.seen }
    }
    for x in set { save n(x[0]) to "y.npy" }
    save n to "net.safetensors"
    print "parameters": parameters(n)
}

experiment again {
    data set = arrays("x.npy", "t.npy", batch = 3)
    let n = net()
    load n from "learned/net.safetensors"
    for x in set { save n(x[0]) to "z.npy" }
    save n to "again.safetensors"
}
"""
ONCE = "return L(relu(B(K(f), s, b)))"
TWICE = "return L(relu(B(K(f), s, b)) + B(K(0.5 * f)^2, s, b))"
DEEP = """u[0]   = K(f)
    u[k+1] = u[k] + 0.3 * relu(B(u[k] + 0.1 * k, k, s, b))
    return L(u[4])"""
LOOP = """let P(u) = u + 0.3 * B(u, s, b)
    let Q(u) = (P^2)(0.9 * u)
    return L((Q^2)(K(f)))"""


class Net(torch.nn.Module):
    """The same network, with PyTorch's batch normalisation."""

    def __init__(self, start, momentum, body):
        super().__init__()
        for name in ("K", "L", "s", "b"):
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(start[name].copy())))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(3, momentum=momentum, affine=False, dtype=self.K.dtype)
                                         for _ in range(4 if body == DEEP else 1))
        self.body = body

    def scaled(self, u, k=0):
        return self.s.view(1, 3, 1, 1) * self.norms[k](u) + self.b.view(1, 3, 1, 1)

    def forward(self, f):
        u = F.conv2d(f, self.K, padding=1)
        if self.body == ONCE:
            u = torch.relu(self.scaled(u))
        elif self.body == TWICE:
            u = torch.relu(self.scaled(u)) + self.scaled(F.conv2d(0.5 * f, self.K, padding=1) ** 2)
        for k in range(4):
            if self.body == LOOP:
                u = 0.9 ** (k % 2 == 0) * u
                u = u + 0.3 * self.scaled(u)
            if self.body == DEEP:
                u = u + 0.3 * torch.relu(self.scaled(u + 0.1 * k, k))
        return F.conv2d(u, self.L, padding=1)


def optimiser(kind, net):
    if kind.startswith("sgd"):
        return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    return torch.optim.Adam(net.parameters(), lr=0.02, weight_decay=0.1)


def compare(name, body, kind, precision, momentum):
    f64 = precision == "precision f64"
    tolerance = 1e-10 if f64 else 2e-4
    text = PROGRAM.replace("PRECISION", precision).replace("BODY", body).replace("OPTIMISER", kind)
    made = "batch_norms(count = 4" if body == DEEP else "batch_norm("
    made += "" if momentum == 0.1 else f"{', ' if body == DEEP else ''}momentum = {momentum}"
    with open(path("net.pdn"), "w", encoding="utf-8") as file:
        file.write(text.replace("MADE", made + ")"))
    done = pdn("run", "net.pdn", "learn", "--out", "learned", "--quiet", "--threads", "1")
    check(f"{name} trains", done.returncode == 0, done.stderr)
    if done.returncode:
        return
    batches = [int(float(x)) for x in re.findall(r"^batch: (.*)$", done.stdout, re.M)]
    steps = (SAMPLES + BATCH - 1) // BATCH
    check(f"{name}: every sample once an epoch",
          len(batches) == steps * EPOCHS and all(sum(batches[i:i + steps]) == 2 ** SAMPLES - 1
                                                 for i in range(0, len(batches), steps)), batches)
    check(f"{name}: averages are no parameters", "parameters: 60" in done.stdout, done.stdout[-80:])
    net = Net(arrays("learned", "start.safetensors"), momentum, body)
    step = optimiser(kind, net)
    x = torch.tensor(np.load(path("x.npy")).astype(np.float64 if f64 else np.float32))[:, None]
    for batch in batches:
        step.zero_grad()
        u = x[[i for i in range(SAMPLES) if batch >> i & 1]]
        torch.mean((net(u) - u) ** 2).backward()
        step.step()
    net.eval()
    got = arrays("learned", "net.safetensors")
    stem = "batch_norms" if body == DEEP else "batch_norm"
    check(f"{name}: names", set(got) == {"K", "L", "s", "b", f"{stem}.running_mean", f"{stem}.running_var"}, list(got))
    for average in ("running_mean", "running_var"):
        wanted = np.stack([getattr(norm, average).numpy() for norm in net.norms])
        near(f"{name}: {average}", got[f"{stem}.{average}"], wanted if body == DEEP else wanted[0], tolerance)
    for weight in ("K", "L", "s", "b"):
        near(f"{name}: {weight}", got[weight], getattr(net, weight).detach().numpy(), tolerance)
    with torch.no_grad():
        y = net(x).numpy()
    for i in range(SAMPLES):
        near(f"{name}: sample {i}", np.load(path("learned", f"y_{i:04}.npy")), y[i, 0], 10 * tolerance)
    files(name)


def files(name):
    """Loaded, on two threads, gone on with: the same."""
    done = pdn("run", "net.pdn", "again", "--quiet")
    check(f"{name} is loaded", done.returncode == 0, done.stderr)
    check(f"{name}: the same file", content("again.safetensors") == content("learned", "net.safetensors"))
    check(f"{name}: the same results", all(content(f"z_{i:04}.npy") == content("learned", f"y_{i:04}.npy")
                                           for i in range(SAMPLES)))
    pdn("run", "net.pdn", "learn", "--out", "threads", "--quiet", "--threads", "2")
    check(f"{name}: on two threads", content("threads", "net.safetensors") == content("learned", "net.safetensors"))
    pdn("run", "net.pdn", "learn", "--out", "less", "--quiet", "--memory", "1K")
    check(f"{name}: in less memory", content("less", "net.safetensors") == content("learned", "net.safetensors"))
    pdn("run", "net.pdn", "learn", "epochs=2", "--out", "part", "--quiet")
    check(f"{name}: half way", content("part", "net.safetensors") != content("learned", "net.safetensors"))
    pdn("run", "net.pdn", "learn", "--out", "part", "--quiet", "--resume")
    check(f"{name}: gone on with", content("part", "net.safetensors") == content("learned", "net.safetensors"))
    done = pdn("run", "net.pdn", "learn", "--out", "interpreted", "--quiet", "--interpret")
    check(f"{name} is interpreted", done.returncode == 0, done.stderr)
    for key, array in arrays("learned", "net.safetensors").items():
        near(f"{name}: {key}, interpreted", arrays("interpreted", "net.safetensors")[key], array,
             1e-10 if array.dtype == np.float64 else 2e-4)


def main():
    rng = np.random.default_rng(1)
    np.save(path("x.npy"), rng.normal(0.3, 0.7, (SAMPLES, 6, 9)))
    np.save(path("t.npy"), np.repeat(2.0 ** np.arange(SAMPLES), 54).reshape(SAMPLES, 6, 9))
    sgd, adam = "sgd(rate = 0.05, momentum = 0.9, weight_decay = 0.1)", "adam(rate = 0.02, weight_decay = 0.1)"
    compare("once", ONCE, sgd, "precision f64", 0.1)
    compare("with adam", ONCE, adam, "precision f64", 0.25)
    compare("twice", TWICE, sgd, "precision f64", 0.1)
    compare("in loops", LOOP, sgd, "precision f64", 0.1)
    compare("of each step", DEEP, sgd, "precision f64", 0.2)
    compare("in f32", ONCE, sgd, "precision f32", 0.1)
    print(f"{COUNT} checks, {len(FAULTS)} wrong")
    sys.exit(1 if FAULTS else 0)


main()
