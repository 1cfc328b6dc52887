#!/usr/bin/python3
"""Random programs: grids of 1 to 3 axes with tiny and odd sizes, boundaries of every kind, derivatives, stencils,
resamplings, reductions inside expressions, operators and their powers, adjoints and derivatives, recurrences with
history, systems, films. What they print and save is compared: the interpreter in f64 with compiled code in
f64 and, loosely, f32; one thread with two, optimised with not, a cold cache with a warm one, bit for bit; and
⟨A p, q⟩ with ⟨p, A* q⟩. `--count N --seed S` for longer runs; `--keep DIR` keeps the programs that fail."""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile

from _programs import PDN, np

UNARY = ["sin", "cos", "tanh", "erf", "atan", "sigmoid", "softplus", "gelu", "silu"]
KINKED = ["abs", "relu", "sign", "floor", "ceil", "round"]
AXES = "xyz"


class Scope:
    """Names in sight: fields by channels, numbers, operators and what a statement stands in."""

    def __init__(self, maker, lines, smooth=False):
        self.maker, self.lines, self.smooth = maker, lines, smooth
        self.fields, self.coarse, self.numbers, self.inner = {1: [], 2: [], 3: []}, [], [], 0
        self.operators = []
        self.time, self.homogeneous = None, False

    def add(self, name, channels):
        self.fields[channels].append(name)


class Maker:
    """One program. Every random choice comes from its seed."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.rank = self.r.choice([1, 1, 2, 2, 2, 3])
        self.top, self.count, self.fragile = [], 0, False
        big = self.r.random() < 0.25
        most = {1: 5000 if big else 40, 2: 150 if big else 21, 3: 40 if big else 9}[self.rank]
        self.cells = [self.r.choice([1, 2, 3, 4, 5, 7, 8, most, self.r.randint(1, most), self.r.randint(1, most)])
                      for _ in range(self.rank)]
        if big:
            self.cells[-1] = max(self.cells[-1], most // 2)

    def name(self, letter):
        self.count += 1
        return f"{letter}{self.count}"

    def number(self, low=-1.0, high=1.0):
        return f"{self.r.uniform(low, high):.3g}"

    # ---- boundaries ------------------------------------------------------------------------------

    def side(self, s):
        kind = self.r.choice(["reflecting", "periodic", "zero", "dirichlet", "neumann"])
        if kind in ("dirichlet", "neumann") and s.homogeneous:
            return f"{kind}(0)"
        if kind in ("dirichlet", "neumann"):
            value = self.r.choice([self.number(), "0"] + s.fields[1][:2] + ([f"sin({s.time})"] if s.time else []))
            if s.fields[1] and self.r.random() < 0.3:
                value = f"{self.number()} * {self.r.choice(s.fields[1])} + {self.number()}"
            if s.time and self.r.random() < 0.3:
                value = f"({value}) * cos(3 * {s.time})"
            kind += f"({value})"
        return kind

    def boundary(self, s, name, always=True):
        r = self.r
        if always or r.random() < 0.55:
            s.lines.append(f"boundary {name} = {self.side(s)}")
        for axis in AXES[:self.rank]:
            for end in ("low", "high"):
                if r.random() < 0.25:
                    side = self.side(s)
                    if side == "periodic":
                        s.lines.append(f"boundary {name} at {axis}.low = periodic")
                        s.lines.append(f"boundary {name} at {axis}.high = periodic")
                        break
                    s.lines.append(f"boundary {name} at {axis}.{end} = {side}")

    def bounded(self, s, channels, depth=1, name=None):
        """A name with boundaries of its own, to take derivatives of."""
        if s.inner:
            return self.leaf(s, channels)
        made = self.name("b")
        value = self.field(s, channels, depth - 1)
        s.lines.append(f"let {made} = {value}")
        self.boundary(s, made)
        return made

    # ---- expressions -----------------------------------------------------------------------------

    def leaf(self, s, channels):
        known = s.fields[channels] or ([] if channels == 1 else s.fields[1])
        if not s.fields[channels] and channels > 1:
            return "concat(" + ", ".join(self.r.choice(s.fields[1]) for _ in range(channels)) + ")"
        return self.r.choice(known[-4:] if self.r.random() < 0.7 else known)

    def scalar(self, s, depth):
        r = self.r
        if s.numbers and r.random() < 0.4:
            return r.choice(s.numbers)
        word = r.choice(["mean", "min", "max", "sum", "norm", "integral"])
        x = self.field(s, r.choice([1, 1, 2, 3]), depth - 1)
        return {"sum": f"tanh(sum({x}) / 100)", "norm": f"sin(norm({x}))",
                "integral": f"cos(integral({x}) / 10)"}.get(word, f"{word}({x})")

    def accuracy(self, order, cells):
        return self.r.choice([a for a in (2, 4, 6, 8) if (order - 1) // 2 + a // 2 <= cells])

    def derivative(self, s, u):
        r = self.r
        axes = AXES[:self.rank]
        word = r.choice(["dx", "dxx", "laplacian", "d", "d", "lap", "divgrad", "flux", "mixed", "stencil", "shift"])
        if word == "flux" and s.homogeneous:
            word = "divgrad"
        if word == "dx":
            return f"d{r.choice(axes)}({u})"
        if word == "dxx":
            axis = r.choice(axes)
            return f"d{axis}{axis}({u})"
        if word == "laplacian":
            return f"laplacian({u})"
        if word == "lap":
            return f"laplacian({u}, accuracy = {self.accuracy(2, min(self.cells))})"
        if word == "d":
            at = r.randrange(self.rank)
            order = r.choice([1, 1, 2, 2, 3, 4] if self.cells[at] > 1 else [1, 2])
            return f"d({u}, {axes[at]}, order = {order}, accuracy = {self.accuracy(order, self.cells[at])})"
        if word == "divgrad":
            return f"div(grad({u}))"
        if word == "flux":
            return f"div({self.number()} / (1 + norm2(grad({u}))) * grad({u}))"
        if word == "mixed" and self.rank > 1:
            return r.choice(["dxy"] + (["dxz", "dyz"] if self.rank == 3 else [])) + f"({u})"
        if word == "shift":
            return f"shift({u}, " + ", ".join(str(r.randint(-min(3, n), min(3, n))) for n in self.cells) + ")"
        sizes = [min(r.choice([1, 3, 3, 5] if self.rank < 3 else [1, 3]), 2 * n + 1) for n in self.cells]
        return f"stencil({self.weights(sizes[:r.randint(1, self.rank)])})({u})"

    def weights(self, sizes):
        return "[" + ", ".join(self.weights(sizes[:-1]) if sizes[1:] else self.number(-0.4, 0.4)
                               for _ in range(sizes[-1])) + "]"

    def field(self, s, channels, depth):
        r = self.r
        if depth <= 0:
            return self.leaf(s, channels)
        pick = r.randrange(14 if not s.inner else 9)
        a = self.field(s, channels, depth - 1) if pick < 9 else None
        if pick < 3:
            b = self.field(s, r.choice([1, channels]), depth - 1)
            words = ["{} + {}", "{} - {}", "{} * {}", "{} / (1.5 + {}^2)"]
            if not s.smooth:
                words += ["min({}, {})", "max({}, {})", "where({} < {}, 0.3, %s)" % self.leaf(s, channels),
                          "atan2({}, 2 + abs({}))", "abs({}) ^ (1 + {}^2)"]
            word = r.choice(words)
            self.fragile |= "where" in word
            return "(" + word.format(f"({a})", f"({b})") + ")"
        if pick < 5:
            if not s.smooth and r.random() < 0.3:
                word = r.choice(KINKED)
                self.fragile |= word not in ("abs", "relu")
                return f"{word}({a})"
            return f"{r.choice(UNARY)}({a})"
        if pick == 5:
            return f"({self.number()} * {a} + {self.number()})"
        if pick == 6 and channels > 1:
            if r.random() < 0.3:
                return f"concat({', '.join(self.field(s, 1, depth - 1) for _ in range(channels))})"
            return f"tanh({a})"
        if pick == 6:
            b = self.leaf(s, r.choice([2, 3]))
            return r.choice([f"channel({b}, {r.randint(0, 1)})", f"norm2({b})", f"dot({b}, {b})"])
        if pick == 7:
            return f"({a} * {self.scalar(s, depth - 1)})"
        if pick == 8 and s.numbers:
            return f"({a} + {r.choice(s.numbers)})"
        if pick == 9 and s.operators:
            return self.apply(s, channels, depth)
        if pick == 10:
            return f"prolong(restrict({self.bounded(s, channels, depth)}))"
        if pick == 11 and channels == 1:
            return f"0.5 * tanh(norm2(grad({self.bounded(s, r.choice([1, 2]), depth)})))"
        u = self.bounded(s, channels, depth)
        return f"{r.choice(['tanh', 'sin', '0.1 * '])}({self.derivative(s, u)})"

    def apply(self, s, channels, depth):
        r = self.r
        name = r.choice(s.operators)
        a = self.leaf(s, channels)
        c = s.fields[1][0]
        form = r.randrange(4)
        if form == 0:
            return f"{name}({c})({a})"
        if form == 1:
            return f"({name}({c})^{r.randint(0, 4)})({a})"
        if form == 2:
            return f"tanh({r.choice(['jvp', 'vjp'])}({name}({c}), {a})({self.leaf(s, channels)}))"
        return f"compose({name}({c}), 0.5 * {name}({c}) - {name}({c}))({a})"

    # ---- definitions -----------------------------------------------------------------------------

    def operator(self, known, smooth):
        """An operator of a field of any channels."""
        name, lines = self.name("O"), []
        s = Scope(self, lines, smooth)
        s.fields[1] = ["a", "u"]
        s.operators = known
        s.only = True
        self.boundary(s, "u")
        made = []
        for _ in range(self.r.randint(1, 3)):
            v = self.name("w")
            u = self.r.choice(["u", "u"] + made)
            e = self.r.choice([self.derivative(s, u), f"({self.r.choice(UNARY)}({u}) * a)",
                               f"0.3 * ({self.derivative(s, u)}) * {u}", f"{u} / (2 + {u}^2)"])
            lines.append(f"let {v} = {e}")
            self.boundary(s, v)
            made.append(v)
        lines.append(f"return u * {self.number()} + tanh({' - '.join(made)})")
        self.define(f"operator {name}(a)(u)", lines)
        return name

    def linear(self):
        name, lines = self.name("L"), []
        s = Scope(self, lines, True)
        s.homogeneous = True
        s.fields[1] = ["a"]
        last = "u"
        self.boundary(s, "u")
        for _ in range(self.r.randint(1, 3)):
            v = self.name("w")
            e = self.r.choice([self.derivative(s, last), f"0.2 * ({self.derivative(s, last)}) + a * {last}",
                               f"prolong(restrict({last}))", f"{last} * mean(a) - {self.derivative(s, last)}",
                               f"{last} - mean({last})", f"where(a < 0.5, {last}, {self.derivative(s, last)})",
                               f"div(a * grad({last}))"])
            lines.append(f"let {v} = {e}")
            self.boundary(s, v)
            last = v
        lines.append(f"return {last}")
        self.define(f"operator {name}(a)(u)", lines)
        return name

    def linear_scheme(self, inner):
        name, lines = self.name("T"), []
        s = Scope(self, lines, True)
        s.homogeneous = True
        s.fields[1] = ["a"]
        order = self.r.randint(1, 3)
        for i in range(order):
            lines.append(f"u[{i - order + 1}] = {self.r.choice(['f', '0.5 * f', f'{inner}(a)(f)'])}")
        self.boundary(s, "u")
        terms = [f"{self.number(-0.4, 0.4)} * u[k{'' if i == 0 else -i}]" for i in range(order)]
        terms.append(f"{self.number(-0.2, 0.2)} * ({self.derivative(s, 'u[k]')})")
        terms.append(f"{self.number(-0.2, 0.2)} * a * {inner}(a)(u[k{'' if order < 2 else 1 - order}])")
        lines.append("u[k+1] = " + " + ".join(terms))
        lines.append(f"return u[{self.r.randint(0, 5)}]")
        self.define(f"scheme {name}(a)(f)", lines)
        return name

    def evolution(self):
        name, lines = self.name("P"), []
        s = Scope(self, lines, True)
        s.fields[1] = ["a", "u"]
        s.time = "t"
        lines.append(f"dt(u) = 0.02 * {self.derivative(s, 'u')} + {self.r.choice(['sin(t) * a', 'cos(u)', 'a - u', '0'])}")
        self.boundary(s, "u")
        self.define(f"pde {name}(a)(u)", lines)
        return name

    def scheme(self, operators, inner_schemes):
        r = self.r
        name, lines = self.name("S"), []
        s = Scope(self, lines)
        states = r.randint(1, 3)
        names = ["p", "q", "r"][:states]
        order = r.randint(1, 4)
        listed = r.random() < 0.15
        for n in names:
            for i in range(order):
                start = r.choice([f"{n}0", f"{n}0 * {self.number()}", "a"])
                lines.append(f"{n}[{i - order + 1}] = {'[%s, a]' % start if listed else start}")
            if r.random() < 0.7:
                self.boundary_plain(s, n, "a")
        fields, made = ["a"], []
        for n in names:
            fields += [f"{n}[k{'' if i == 0 else -i}]" for i in range(order)]
        if listed:
            fields = [f"{f}[{r.randint(0, 1)}]" if f != "a" else f for f in fields]
        s.fields[1] = fields
        s.operators = operators
        for n in names:
            e = self.field(s, 1, r.randint(1, 3))
            u = r.choice(fields)
            more = []
            if r.random() < 0.8:
                more.append(f"0.05 * ({self.derivative(s, u)})")
            if inner_schemes and r.random() < 0.5:
                more.append(f"0.1 * {r.choice(inner_schemes)}(a, {r.randint(0, 3)})({u}, {r.choice(fields)})")
            if r.random() < 0.4:
                more.append(f"{self.scalar(s, 1)} * {self.number()}")
            if r.random() < 0.3:
                more.append("sin(k)")
            e = f"tanh({' + '.join([e] + more)})"
            made.append(f"{n}[k+1] = " + (f"0.3 * {n}[k] + [{e}, 0.5 * {u}]" if listed else e))
            s.fields[1] = s.fields[1] + [f"{n}[k+1]" + ("[0]" if listed else "")]
        lines += made
        end = "n"
        if r.random() < 0.2:
            self.fragile = True
            lines.append(f"until mean(abs({names[0]}[k+1] - {names[0]}[k])) < {self.number(0.01, 0.3)} or k > 5"
                         if not listed else "until k > 3")
            end = "end"
        tail = r.choice(names)
        lines.append(f"return {tail}[{end}]" + ("[1]" if listed else ""))
        self.define(f"scheme {name}(a, n)(p0, q0 = p0, r0 = p0)", lines)
        return name

    def boundary_plain(self, s, name, value):
        for side in ["reflecting", "periodic", "zero", f"dirichlet({value})", "neumann(0.2)", "dirichlet(0.3)"]:
            if self.r.random() < 0.3:
                s.lines.append(f"boundary {name} = {side}")
                return

    def define(self, head, lines):
        self.top.append(head + " {\n" + "".join(f"    {line}\n" for line in lines) + "}\n")

    # ---- the whole -------------------------------------------------------------------------------

    def program(self):
        r = self.r
        sides = ", ".join(f"[0, {n * r.choice([1, 0.7, 1.3]):.4g}]" for n in self.cells)
        lines = [f"grid G = box({sides}, cells = {self.cells})"]
        s = Scope(self, lines)
        for c in (1, 1, 2, 3):
            v = self.name("f")
            parts = [r.choice(["uniform(G.x)", "normal(G.x)", f"sin({self.number(0.5, 2)} * G.{AXES[self.rank - 1]}) * uniform(G.x)"])
                     for _ in range(c)]
            lines.append(f"let {v} = " + (parts[0] if c == 1 else f"concat({', '.join(parts)})"))
            s.add(v, c)
            if r.random() < 0.6:
                self.boundary(s, v)
        smooth = [self.operator([], True) for _ in range(r.randint(1, 2))]
        s.operators = smooth
        schemes = [self.scheme(smooth, [])]
        if r.random() < 0.5:
            schemes.append(self.scheme(smooth, schemes))
        saved = []
        for _ in range(r.randint(2, 7)):
            c = r.choice([1, 1, 1, 2, 3])
            v = self.name("v")
            lines.append(f"let {v} = {self.field(s, c, r.randint(1, 4))}")
            s.add(v, c)
            if r.random() < 0.4:
                self.boundary(s, v)
            if r.random() < 0.5:
                saved.append(v)
            if r.random() < 0.3:
                n = self.name("n")
                lines.append(f"let {n} = {self.scalar(s, 2)}")
                lines.append(f'print "{n}": {n}')
                s.numbers.append(n)
        for scheme in schemes:
            v = self.name("s")
            starts = ", ".join(r.choice(s.fields[1]) for _ in range(r.randint(1, 3)))
            made = f"{scheme}({r.choice(s.fields[1])}, {r.randint(0, 6)})"
            form = r.randrange(4)
            if form == 0:
                lines.append(f'save trajectory({made}, stride = {r.randint(1, 3)})({starts}) to "{self.name("film")}.npy"')
            lines.append(f"let {v} = {made}({starts})")
            s.add(v, 1)
            saved.append(v)
        if r.random() < 0.4:
            self.top.append("use schemes\n")
            v, stepper = self.name("e"), r.choice(["explicit", "heun", "rk4"])
            pde = self.evolution()
            lines.append(f"let {v} = {stepper}({pde}({r.choice(s.fields[1])}), tau = 0.1, steps = {r.randint(0, 5)})"
                         f"({r.choice(s.fields[1])})")
            saved.append(v)
        pairs = []
        if r.random() < 0.7:
            pairs = self.pairs(s, smooth)
        lines += [f'save {v} to "{v}.npy"' for v in saved + [self.leaf(s, 1)]]
        text = "\n".join(self.top) + "\nexperiment random {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"
        return text, pairs

    def pairs(self, s, smooth):
        r = self.r
        a, p, q = (r.choice(s.fields[1][:2]) for _ in range(3))
        name = self.linear()
        form = r.randrange(4)
        if form == 0:
            forward, back = f"jvp({smooth[0]}({a}), {p})({p})", f"vjp({smooth[0]}({a}), {p})({q})"
        else:
            of = f"{name}({a})"
            if form == 1:
                of = f"{self.linear_scheme(name)}({a})"
            if form == 2:
                of = f"({of}^{r.randint(2, 3)})"
            forward, back = f"({of}({p}) - {of}(zeros({p})))", f"adjoint({of})({q})"
        lines = [f"let adjoint_forward = {forward}", f"let adjoint_back = {back}", f"let adjoint_p = {p}",
                 f"let adjoint_q = {q}"]
        s.lines += lines + [f'save {n} to "{n}.npy"' for n in
                            ("adjoint_forward", "adjoint_back", "adjoint_p", "adjoint_q")]
        return [1]


MODES = {
    "interpreted": ["--interpret", "--precision", "f64"],
    "cold": ["--precision", "f64", "--threads", "1"],
    "threads": ["--precision", "f64", "--threads", "2"],
    "O0": ["--precision", "f64", "--threads", "1", "--optimise", "0"],
    "f32": ["--precision", "f32", "--threads", "1"],
    "f32-threads": ["--precision", "f32", "--threads", "2"],
    "f32-O0": ["--precision", "f32", "--threads", "2", "--optimise", "0"],
}


def numbers(folder, out):
    found = {}
    for line in out.splitlines():
        label, _, text = line.partition(":")
        found[label] = np.array([float(x) for x in text.split()])
    for file in sorted(os.listdir(folder)):
        found[file] = np.load(os.path.join(folder, file))
    return found


def furthest(found, expected, scale):
    worst = (0.0, None)
    for name, x in expected.items():
        y = found.get(name)
        if y is None or y.shape != x.shape:
            return (np.inf, name)
        if not np.isfinite(x).all() or not np.isfinite(y).all():
            continue
        difference = np.abs(x - y)
        if difference.size:
            worst = max(worst, (float(difference.max()) / scale, name), key=lambda w: w[0])
    return worst


class Runner:
    def __init__(self, keep):
        self.keep, self.ran, self.rejected, self.failed, self.compared = keep, 0, 0, 0, 0
        self.why = {}

    def run(self, seed):
        with tempfile.TemporaryDirectory(prefix="pdn-random-") as folder:
            maker = Maker(seed)
            text, pairs = maker.program()
            path = os.path.join(folder, "program.pdn")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            problem = self.check(folder, path, maker, pairs)
            if problem:
                self.failed += 1
                print(f"seed {seed}: {problem}", flush=True)
                if self.keep:
                    os.makedirs(self.keep, exist_ok=True)
                    shutil.copy(path, os.path.join(self.keep, f"{seed}.pdn"))

    def check(self, folder, path, maker, pairs):
        results, bits = {}, {}
        chosen = maker.r.choice([("threads", "f32-O0"), ("f32-threads", "O0"), ("threads",), ("f32-threads",)])
        for mode, options in MODES.items():
            if "-O0" in mode or mode not in ("interpreted", "cold", "f32") + chosen:
                if mode not in chosen:
                    continue
            out = os.path.join(folder, mode)
            os.mkdir(out)
            command = [PDN, "run", path, "--out", out, "--cache", os.path.join(folder, "cache")] + options
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            except subprocess.TimeoutExpired:
                return f"{mode}: slower than 120 s"
            if done.returncode not in (0, 1):
                return f"{mode}: exit status {done.returncode}\n{done.stderr[:600]}"
            if done.returncode == 1:
                if "error:" not in done.stderr:
                    return f"{mode}: fails without a message\n{done.stderr[:600]}"
                if mode == "interpreted":
                    self.rejected += 1
                    message = done.stderr.split("error:")[1].splitlines()[0]
                    self.why[message] = self.why.get(message, 0) + 1
                    return None
                if "not a number" in done.stderr:
                    return None
                return f"{mode}: fails where the interpreter does not\n{done.stderr[:900]}"
            results[mode] = numbers(out, done.stdout)
            bits[mode] = {n: x.tobytes() for n, x in results[mode].items()}
        self.ran += 1
        for a, b in (("cold", "threads"), ("cold", "O0"), ("f32", "f32-threads"), ("f32", "f32-O0")):
            if b not in bits:
                continue
            for name, x in bits[a].items():
                self.compared += 1
                if bits[b].get(name) != x:
                    u, v = results[a][name], results[b].get(name)
                    if v is not None and u.shape == v.shape and np.array_equal(u, v, equal_nan=True):
                        if not np.isnan(u).any():
                            return f"{name}: zeros differ in sign, {a} and {b}"
                        continue
                    return f"{name}: {a} and {b} differ"
        truth = results["interpreted"]
        scale = max([1.0] + [float(np.abs(x[np.isfinite(x)]).max(initial=0)) for x in truth.values()])
        for name, x in truth.items():
            for mode in ("cold",):
                if np.isnan(results[mode][name]).any() != np.isnan(x).any():
                    return f"{name}: {mode} is not a number where the interpreter differs"
        error, name = furthest(results["cold"], truth, scale)
        if error > 1e-8:
            return f"{name}: compiled f64 is {error:.3g} from the interpreter"
        if not maker.fragile:
            error, name = furthest(results["f32"], truth, scale)
            if error > 2e-2:
                return f"{name}: compiled f32 is {error:.3g} from the interpreter"
        for mode in ("interpreted", "cold") if pairs else ():
            found = results[mode]
            f, b, p, q = (found[f"adjoint_{n}.npy"] for n in ("forward", "back", "p", "q"))
            left, right = float((f * q).sum()), float((p * b).sum())
            size = np.linalg.norm(f) * np.linalg.norm(q) + np.linalg.norm(p) * np.linalg.norm(b) + scale * p.size
            if abs(left - right) > 1e-11 * size:
                return f"{mode}: <A p, q> = {left!r}, <p, A* q> = {right!r}"
        return None


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=16)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", metavar="DIR")
    options.add_argument("--show", action="store_true", help="print the program of the seed")
    given = options.parse_args()
    if given.show:
        print(Maker(given.seed).program()[0])
        return
    runner = Runner(given.keep)
    for seed in range(given.seed, given.seed + given.count):
        runner.run(seed)
    for message, count in sorted(runner.why.items(), key=lambda w: -w[1])[:12] if given.count > 16 else ():
        print(f"  {count} rejected:{message}")
    print(f"{runner.ran} programs agreed or failed, {runner.compared} results compared bit by bit, "
          f"{runner.rejected} rejected with a message, {runner.failed} failed")
    sys.exit(1 if runner.failed or runner.ran * 4 < given.count else 0)


main()
