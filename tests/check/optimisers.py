#!/usr/bin/python3
"""The optimisers and schedules of runtime/*.def, step by step: 50 steps of every one with every option against
PyTorch's, where that is installed (./dev setup bench); lbfgs under bounds against the conditions of Karush, Kuhn
and Tucker; the same bits after its state went through another optimiser. A row without a case here is an error."""
import os
import re
import subprocess
import sys
import warnings

try:
    import numpy as np
except ImportError:
    print("NumPy is not installed (Debian: python3-numpy)")
    sys.exit(77)
try:
    import torch
    torch.set_num_threads(1)
    warnings.simplefilter("ignore") # what SequentialLR says of itself
except ImportError:
    torch = None

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("PDN_SOURCE", os.path.join(HERE, "..", ".."))
BUILD = os.environ.get("PDN_BUILD", os.path.join(SOURCE, "build", "release"))
COUNT, STEPS = 37, 50
# name, arguments
OPTIMISERS = [
    ("sgd", {"rate": 0.01}),
    ("sgd", {"rate": 0.01, "weight_decay": 0.1}),
    ("sgd", {"rate": 0.01, "momentum": 0.9, "dampening": 0.3}),
    ("sgd", {"rate": 0.01, "momentum": 0.9, "nesterov": 1, "weight_decay": 0.1}),
    ("sgd", {"rate": 0.02, "clip_norm": 2.5}),
    ("sgd", {"rate": 20, "clip_norm": 1e-4}), # where the 1e-6 in its formula shows
    ("sgd", {"rate": 0.02, "clip_value": 0.7, "momentum": 0.9}),
    ("adam", {"rate": 0.05}),
    ("adam", {"rate": 0.05, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3, "weight_decay": 0.1}),
    ("adam", {"rate": 0.05, "clip_value": 0.7}),
    ("adam", {"rate": 0.05, "clip_value": 0.7, "clip_norm": 3}),
    ("adamw", {"rate": 0.05}),
    ("adamw", {"rate": 0.05, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-3, "weight_decay": 0.3}),
    ("adamw", {"rate": 0.05, "clip_value": 0.7, "clip_norm": 3}),
    ("rmsprop", {"rate": 0.01}),
    ("rmsprop", {"rate": 0.01, "decay": 0.95, "epsilon": 0.1, "weight_decay": 0.1}), # smaller: chaos
    ("rmsprop", {"rate": 0.01, "momentum": 0.9}),
    ("rmsprop", {"rate": 0.01, "momentum": 0.5, "centred": 1}),
    ("rmsprop", {"rate": 0.01, "clip_value": 0.7, "clip_norm": 3}),
    ("lbfgs", {}),
    ("lbfgs", {"history": 3, "rate": 0.7}),
    ("lbfgs", {"decrease": 0.3, "curvature": 0.4, "evaluations": 40, "tolerance": 0}),
]
# what is passed on to every optimiser; the rate that PyTorch gives
SCHEDULES = [
    [("constant", {})],
    [("step", {"every": 7, "factor": 0.6})],
    [("cosine", {"final": 0.002})],
    [("cosine", {"over": 20})],
    [("warmup", {"steps": 10})],
    [("warmup", {"steps": 10}), ("step", {"every": 7, "factor": 0.6})],
    [("warmup", {"steps": 10}), ("cosine", {"final": 0.002})],
]


def words(arguments):
    return [f"{name}={value!r}" for name, value in arguments.items()]


def run(kind, function, count, steps, name, arguments, schedules=(), options=()):
    """(a row [loss, rate, evaluations, parameters…] for each step, the last line)"""
    command = [os.path.join(BUILD, "tests", "optimise"), kind, function, str(count), str(steps), *options, name,
               *words(arguments)]
    for schedule, given in schedules:
        command += ["schedule", schedule, *words(given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}, {lines[-1:]}")
    return np.array([[float(x) for x in line.split()] for line in lines[:-1]]), lines[-1]


# ---- the functions of tests/tools/optimise.c, in NumPy


def evaluate(function, x):
    """(loss, gradient) in double."""
    x = np.asarray(x, np.float64)
    if function == "waves":
        i = np.arange(len(x))
        w, away = 1 + i % 7, x - np.cos(i)
        return float(np.sum(w * away ** 2 + np.cos(3 * x) / 2)), 2 * w * away - 1.5 * np.sin(3 * x)
    up = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * up - 2 * (1 - x[:-1])
    gradient[1:] += 200 * up
    return float(np.sum(100 * up ** 2 + (1 - x[:-1]) ** 2)), gradient


def start(kind, count):
    return np.sin(np.arange(count) + 1.0).astype(np.float32 if kind == "f32" else np.float64)


# ---- PyTorch


def rival(name, arguments, x):
    """PyTorch's optimiser of x, and how it clips."""
    a = {**arguments}
    clip = a.pop("clip_value", None), a.pop("clip_norm", None)
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
            "rmsprop": torch.optim.RMSprop, "lbfgs": torch.optim.LBFGS}[name]
    theirs = {"rate": "lr", "epsilon": "eps", "decay": "alpha", "centred": "centered",
              "history": "history_size"}
    if name.startswith("adam"):
        a["betas"] = a.pop("beta1", 0.9), a.pop("beta2", 0.999)
    if name == "lbfgs": # one iteration a step, and never done
        a = {"history": 10, **a, "line_search_fn": "strong_wolfe", "max_iter": 1, "max_eval": 1000,
             "tolerance_grad": 0, "tolerance_change": 0}
    if name == "sgd" and "rate" not in a:
        a["rate"] = 1e-2
    for switch in ("nesterov", "centred"):
        if switch in a:
            a[switch] = bool(a[switch])
    return make([x], **{theirs.get(key, key): value for key, value in a.items()}), clip


def clipped(x, clip):
    value, norm = clip
    if value is not None:
        torch.nn.utils.clip_grad_value_([x], value)
    if norm is not None:
        torch.nn.utils.clip_grad_norm_([x], norm)


def schedule_of(optimiser, schedules, steps):
    """PyTorch's schedulers for a list of ours."""
    from torch.optim import lr_scheduler
    warm = dict(schedules).get("warmup", {}).get("steps", 0)
    made = []
    for name, given in schedules:
        if name == "step":
            made.append(lr_scheduler.StepLR(optimiser, given["every"], given["factor"]))
        elif name == "cosine":
            made.append(lr_scheduler.CosineAnnealingLR(optimiser, given.get("over", steps - warm),
                                                       given.get("final", 0)))
        elif name == "warmup":
            made.append(lr_scheduler.LinearLR(optimiser, 1 / warm, 1, warm - 1))
    if len(made) == 2:
        return lr_scheduler.SequentialLR(optimiser, [made[0], made[1]], [warm])
    return made[0] if made else None


def theirs(kind, function, count, steps, name, arguments, schedules=()):
    """As run(), by PyTorch (without the loss of lbfgs after a step)."""
    x = torch.nn.Parameter(torch.tensor(start(kind, count)))
    optimiser, clip = rival(name, arguments, x)
    schedule = schedule_of(optimiser, schedules, steps)
    calls = [0]

    def closure():
        calls[0] += 1
        loss, gradient = evaluate(function, x.detach().numpy())
        x.grad = torch.tensor(gradient.astype(x.detach().numpy().dtype))
        clipped(x, clip)
        return torch.tensor(loss, dtype=torch.float64)

    rows = []
    over = dict(schedules).get("cosine", {}).get("over", steps)
    for k in range(steps):
        rate = optimiser.param_groups[0]["lr"]
        loss = float(optimiser.step(closure))
        rows.append([loss, rate, calls[0], *x.detach().numpy().astype(np.float64)])
        if schedule and k < over: # beyond, PyTorch's cosine rises again
            schedule.step()
    return np.array(rows)


# ---- the checks


class Checks:
    def __init__(self):
        self.done = self.wrong = 0

    def that(self, good, what):
        self.done += 1
        if not good:
            self.wrong += 1
            print(f"wrong: {what}")


def table(path, macro):
    """The names of rows, and their arguments."""
    with open(os.path.join(SOURCE, "runtime", path), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    rows = {name: set() for name in re.findall(macro + r"\((\w+),", text)}
    for of, name in re.findall(r"ARGUMENT\((\w+), (\w+),", text):
        rows[of].add(name)
    for of in re.findall(r"CLIPPING\((\w+)\)", text):
        rows[of] |= {"clip_norm", "clip_value"}
    return rows


def check_tables(checks):
    """Every row and argument of the tables has a case."""
    for path, macro, cases in [("optimisers.def", "OPTIMISER", OPTIMISERS),
                               ("schedules.def", "SCHEDULE", sum(SCHEDULES, []))]:
        for name, arguments in table(path, macro).items():
            checks.that(name in [case[0] for case in cases], f"{name} of {path} has no case in this check")
            covered = set().union(*(case[1] for case in cases if case[0] == name))
            checks.that(arguments <= covered, f"{name}: no case has {arguments - covered}")


def check_against_torch(checks):
    bounds = {"f64": 1e-12, "f32": 2e-5}
    for name, arguments in OPTIMISERS:
        for kind, bound in bounds.items():
            if name == "lbfgs" and (kind == "f32" or "decrease" in arguments):
                continue # PyTorch takes its sums in f32, and has its constants
            ours, _ = run(kind, "waves", COUNT, STEPS, name, arguments)
            want = theirs(kind, "waves", COUNT, STEPS, name, arguments)
            # a line search ends where losses differ by rounding, in either in its way
            rows = 12 if name == "lbfgs" else STEPS
            away = np.max(np.abs(ours - want)[:rows, 3:])
            checks.that(away <= (1e-9 if name == "lbfgs" else bound), f"{name} {arguments} {kind}: {away:g}")
    for schedules in SCHEDULES:
        for name, arguments in [("sgd", {"rate": 0.01, "momentum": 0.9}), ("adamw", {"rate": 0.05})]:
            ours, _ = run("f64", "waves", COUNT, STEPS, name, arguments, schedules)
            want = theirs("f64", "waves", COUNT, STEPS, name, arguments, schedules)
            checks.that(np.allclose(ours[:, 1], want[:, 1], rtol=1e-12, atol=0), f"rates of {schedules}")
            away = np.max(np.abs(ours[:, 3:] - want[:, 3:]))
            checks.that(away <= 1e-12, f"{name} with {schedules}: {away:g}")
    ours, _ = run("f64", "rosenbrock", 10, 30, "lbfgs", {})
    want = theirs("f64", "rosenbrock", 10, 30, "lbfgs", {})
    away = np.max(np.abs(ours - want)[:, 3:])
    checks.that(away < 1e-6, f"lbfgs on Rosenbrock's function: {away:g}")


def check_rosenbrock(checks):
    """The minimum is at 1, …, 1; without batches a step needs less than two evaluations."""
    for count in (2, 10, 37):
        for kind, bound in [("f64", 1e-6), ("f32", 2e-3)]:
            ours, end = run(kind, "rosenbrock", count, 400, "lbfgs", {}, options=["fixed=1"])
            away = np.max(np.abs(ours[-1, 3:] - 1))
            losses = ours[:, 0]
            checks.that(away < bound or losses[-1] < 4, f"Rosenbrock {count} {kind}: {away:g}")
            checks.that(np.all(np.diff(losses) <= 1e-6 * losses[:-1]), f"Rosenbrock {count} {kind} went up")
            checks.that(end.startswith("converged: "), f"Rosenbrock {count} {kind}: {end}")
            used = len(np.unique(ours[:, 2]))
            checks.that(ours[-1, 2] < 2 * used, f"Rosenbrock {count}: {ours[-1, 2]} evaluations in {used} steps")


def check_bounds(checks):
    """Where lbfgs ends with lower <= x <= upper, the gradient is 0 in free numbers, and presses on the bounds in others."""
    for function, count in [("rosenbrock", 2), ("rosenbrock", 10), ("waves", 37)]:
        for lower, upper in [(-2, 0.5), (0.1, 0.7), (1.5, 3), (-0.2, np.inf)]:
            for kind, bound in [("f64", 1e-5), ("f32", 2e-2)]:
                what = f"{function} {count} {kind} in [{lower}, {upper}]"
                ours, end = run(kind, function, count, 300, "lbfgs", {},
                                options=["fixed=1", f"lower={lower}", f"upper={upper}"])
                x = ours[-1, 3:]
                low, high = (float(np.float32(b)) if kind == "f32" else b for b in (lower, upper))
                checks.that(np.all((ours[:, 3:] >= low) & (ours[:, 3:] <= high)), f"{what}: outside")
                gradient = evaluate(function, x)[1]
                free = np.clip(x - gradient, low, high) - x
                checks.that(np.max(np.abs(free)) < bound, f"{what}: {np.max(np.abs(free)):g}")
                checks.that(end.startswith("converged: "), f"{what}: {end}")
                checks.that(np.all(np.diff(ours[:, 0]) <= 0), f"{what} went up")


def check_resuming(checks):
    for name, arguments in OPTIMISERS:
        for kind in ("f32", "f64"):
            for options in [[], ["lower=-0.5", "upper=0.5"]] + ([["fixed=1"]] if name == "lbfgs" else []):
                straight = run(kind, "waves", COUNT, STEPS, name, arguments, [], options)
                for k in (0, 1, 7, 40):
                    resumed = run(kind, "waves", COUNT, STEPS, name, arguments, [], [*options, f"resume={k}"])
                    checks.that(np.array_equal(straight[0], resumed[0]) and straight[1] == resumed[1],
                                f"{name} {arguments} {kind} {options}, resumed at {k}: other bits")


def main():
    if not os.path.exists(os.path.join(BUILD, "tests", "optimise")):
        print("tests/optimise is not built")
        return 77
    checks = Checks()
    check_tables(checks)
    check_rosenbrock(checks)
    check_bounds(checks)
    check_resuming(checks)
    if torch:
        check_against_torch(checks)
    print(f"{checks.done} checked, {checks.wrong} wrong")
    if checks.wrong:
        return 1
    if not torch:
        print("PyTorch is not installed (Debian: python3-torch): not compared with it")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
