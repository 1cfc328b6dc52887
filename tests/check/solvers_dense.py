#!/usr/bin/python3
"""Every solver against a dense solution: the matrix is built here from the formulas of the differences and of the sides, solved
by LAPACK (nonlinear equations by Newton's method with dense Jacobians), and what a solver gives must leave a residual
of at most the tolerance that it was asked for, and be as near to the solution as that allows. A solver of the library that has no
case fails."""
import os
import re

from _programs import MODES, Programs, load, np

TOL = 1e-10
SIDES = {"value": "dirichlet({})", "slope": "neumann({})", "even": "reflecting", "ring": "periodic"}


class Line:
    """Differences along one axis of n cells of width h as affine maps u -> M u + c, by the ghosts beyond both sides."""

    def __init__(self, n, length, low, high=None):
        self.n, self.length, self.low, self.high = n, length, low, high or low
        self.h = length / n

    def ghosts(self):
        """The ghosts below and above as (row of a matrix, number)."""
        rows = []
        for inside, other, (kind, value) in ((0, self.n - 1, self.low), (self.n - 1, 0, self.high)):
            row, number = np.zeros(self.n), 0.0
            if kind == "ring":
                row[other] = 1
            elif kind == "value":
                row[inside], number = -1, 2 * value
            else:
                row[inside], number = 1, self.h * value if kind == "slope" else 0
            rows.append((row, number))
        return rows

    def shifted(self, by):
        matrix, number = np.zeros((self.n, self.n)), np.zeros(self.n)
        for i in range(self.n):
            if 0 <= i + by < self.n:
                matrix[i, i + by] = 1
            else:
                matrix[i], number[i] = self.ghosts()[by > 0]
        return matrix, number

    def first(self):
        (below, b), (above, a) = self.shifted(-1), self.shifted(1)
        return (above - below) / (2 * self.h), (a - b) / (2 * self.h)

    def second(self):
        (below, b), (above, a) = self.shifted(-1), self.shifted(1)
        return (above + below - 2 * np.eye(self.n)) / self.h**2, (a + b) / self.h**2

    def faces(self):
        """Differences across the n + 1 faces, the sum of what leaves a cell, and the cell whose coefficient a face takes."""
        (below, b), (above, a) = self.ghosts()
        matrix, number = np.zeros((self.n + 1, self.n)), np.zeros(self.n + 1)
        for i in range(1, self.n):
            matrix[i, i - 1], matrix[i, i] = -1, 1
        matrix[0], number[0] = np.eye(self.n)[0] - below, -b
        matrix[-1], number[-1] = above - np.eye(self.n)[-1], a
        leaves = np.eye(self.n, self.n + 1, 1) - np.eye(self.n, self.n + 1)
        low = self.n - 1 if self.low[0] == "ring" else 0
        return matrix / self.h, number / self.h, leaves / self.h, [low] + list(range(self.n))


class Domain:
    """A box; fields are vectors, x fastest."""

    def __init__(self, *lines):
        self.lines = lines
        self.shape = tuple(line.n for line in reversed(lines))

    def along(self, axis, matrix):
        out = np.eye(1)
        for a, line in reversed(list(enumerate(self.lines))):
            out = np.kron(out, matrix if a == axis else np.eye(line.n))
        return out

    def lift(self, axis, pair):
        shape = [1] * len(self.lines)
        shape[len(self.lines) - 1 - axis] = len(pair[1])
        return self.along(axis, pair[0]), np.broadcast_to(pair[1].reshape(shape), self.shape).ravel()

    def d(self, axis):
        return self.lift(axis, self.lines[axis].first())

    def laplacian(self):
        parts = [self.lift(a, line.second()) for a, line in enumerate(self.lines)]
        return sum(p[0] for p in parts), sum(p[1] for p in parts)

    def div_grad(self, coefficient):
        """div(a * grad(u))"""
        matrix, number = 0, 0
        a = coefficient.reshape(self.shape)
        for axis, line in enumerate(self.lines):
            differences, c, leaves, cells = line.faces()
            at = np.take(a, cells, len(self.lines) - 1 - axis).ravel()
            leaves = self.along(axis, leaves)
            shape = [1] * len(self.lines)
            shape[len(self.lines) - 1 - axis] = len(c)
            wide = list(self.shape)
            wide[len(self.lines) - 1 - axis] = len(c)
            matrix = matrix + leaves @ (at[:, None] * self.along(axis, differences))
            number = number + leaves @ (at * np.broadcast_to(c.reshape(shape), wide).ravel())
        return matrix, number

    def text(self):
        box = ", ".join(f"[0, {line.length}]" for line in self.lines)
        cells = ", ".join(str(line.n) for line in self.lines)
        sides = ""
        for name, line in zip("xyz", self.lines):
            for end, (kind, value) in (("low", line.low), ("high", line.high)):
                sides += f"    boundary u at {name}.{end} = {SIDES[kind].format(value)}\n"
        return f"box({box}, cells = [{cells}])", sides


VALUE, HOT, EVEN, RING, SLOPE = ("value", 0), ("value", 0.75), ("even", 0), ("ring", 0), ("slope", -0.5)

# ---- the solvers ---------------------------------------------------------------------------------

ANY = {"gmres": "gmres(tol = TOL, memory = 30)", "bicgstab": "bicgstab(tol = TOL)",
       "newton": "newton(tol = TOL, by = gmres(tol = 1e-6, memory = 30))"}
POSITIVE = {"cg": "cg(tol = TOL)"}
RELAXED = {"jacobi": "jacobi(tol = TOL)", "gauss_seidel": "gauss_seidel(tol = TOL)"}
LEVELS = {
    "v_cycle": "v_cycle(levels = 3, tol = TOL)",
    "w_cycle": "w_cycle(levels = 3, smoother = gauss_seidel(steps = 1), tol = TOL)",
    "two_grid": "two_grid(coarsest = jacobi(steps = 100), tol = TOL)",
    "fas": "fas(levels = 3, tol = TOL)",
    "full_multigrid": "full_multigrid(levels = 3, tol = TOL)",
}
LINES = {"tridiagonal": "tridiagonal(tol = 1e-13)"}


def lagged(L, by="cg(tol = 1e-2, strict = false)"):
    return {"fixed_point": f"fixed_point({L}, by = {by}, tol = TOL)"}


def richardson(largest):
    """With a step that is stable for a matrix with eigenvalues up to that."""
    return {"richardson": f"richardson(omega = {1.8 / largest}, tol = TOL)"}


class Case:
    """An equation A u + f(u) = b: `text` is A of u in the language, `matrix` and `number` what it is here; `nonlinear`
    a function and its derivative."""

    def __init__(self, name, domain, text, affine, solvers, nonlinear=None, fields="", extra=""):
        self.name, self.domain, self.text, self.solvers = name, domain, text, solvers
        self.matrix, self.number = affine
        self.nonlinear = nonlinear or (lambda u: 0 * u, lambda u: 0 * u)
        self.fields, self.extra = fields, extra

    def of(self, u):
        return self.matrix @ u + self.number + self.nonlinear[0](u)

    def jacobian(self, u):
        return self.matrix + np.diag(self.nonlinear[1](u))

    def solution(self, b):
        """Newton's method, damped so that the residual falls."""
        u = np.zeros_like(b)
        for _ in range(200):
            r = b - self.of(u)
            if np.linalg.norm(r) < 1e-14 * np.linalg.norm(b) * len(b):
                break
            step, t = np.linalg.solve(self.jacobian(u), r), 1.0
            while t > 1e-6 and np.linalg.norm(b - self.of(u + t * step)) > (1 - 1e-4 * t) * np.linalg.norm(r):
                t /= 2
            u = u + t * step
        return u

    def program(self):
        grid, sides = self.domain.text()
        lines = [f"    solve A(u_{s}) = b for u_{s} from z with {text.replace('TOL', repr(TOL))}\n"
                 f'    save u_{s} to "{s}.npy"\n' for s, text in self.solvers.items()]
        return (f"precision f64\nuse solvers\n\noperator equation(a)(u) {{\n{sides}    return {self.text}\n}}\n{self.extra}\n"
                f"experiment dense {{\n    grid G = {grid}\n"
                f'    let b = array("b.npy", G)\n    let a = array("a.npy", G)\n    let z = zeros(b)\n'
                f"    let A = equation(a)\n{''.join(lines)}}}\n")


def identity(domain):
    return np.eye(int(np.prod(domain.shape)))


def poisson(name, domain, shift, solvers):
    matrix, number = domain.laplacian()
    affine = shift * identity(domain) - matrix, -number
    largest = np.abs(affine[0]).sum(1).max()
    extra = "operator frozen(a)(c, u) = equation(a)(u)\n"
    return Case(name, domain, f"{shift} * u - laplacian(u)", affine,
                {**ANY, **POSITIVE, **RELAXED, **LEVELS, **richardson(largest),
                 **lagged("frozen(a)", "bicgstab(tol = 1e-3, strict = false)"), **solvers}, extra=extra)


def coefficient(domain):
    random = np.random.default_rng(11)
    return np.exp(random.uniform(-1, 1, int(np.prod(domain.shape))))


def cases():
    line = Domain(Line(24, 1, VALUE))
    yield poisson("values 1D", line, 0, LINES)
    yield poisson("values 1D, odd", Domain(Line(21, 2, HOT, SLOPE)), 0, LINES)
    yield poisson("values 2D", Domain(Line(12, 1, VALUE), Line(16, 1.5, HOT)), 0, {})
    yield poisson("values 2D, odd", Domain(Line(11, 1, VALUE, HOT), Line(13, 1.5, EVEN)), 0, {})
    yield poisson("values 3D", Domain(Line(8, 1, HOT), Line(6, 1, VALUE), Line(4, 0.5, SLOPE)), 0, {})
    yield poisson("reflecting 1D", Domain(Line(20, 1, EVEN)), 20, LINES)
    yield poisson("reflecting 2D", Domain(Line(12, 1, EVEN), Line(10, 1, EVEN)), 30, {})
    yield poisson("reflecting 3D", Domain(Line(6, 1, EVEN), Line(5, 1, EVEN), Line(4, 1, EVEN)), 30, {})
    yield poisson("periodic 1D", Domain(Line(24, 1, RING)), 20, LINES)
    yield poisson("periodic 2D", Domain(Line(12, 1, RING), Line(16, 1, RING)), 30, {})
    yield poisson("periodic 3D", Domain(Line(8, 1, RING), Line(8, 1, RING), Line(4, 1, RING)), 30, {})

    for name, domain, lines in (("carried 1D", Domain(Line(24, 1, HOT)), LINES),
                                ("carried 2D", Domain(Line(16, 1, VALUE), Line(12, 1, HOT)), {}),
                                ("carried 3D", Domain(Line(8, 1, VALUE), Line(6, 1, EVEN), Line(4, 1, VALUE)), {})):
        matrix, number = domain.laplacian()
        text = "-laplacian(u)"
        matrix, number = -matrix, -number
        for axis, speed in zip(range(len(domain.lines)), (7, -4, 3)):
            m, c = domain.d(axis)
            matrix, number = matrix + speed * m, number + speed * c
            text += f" + ({speed}) * d{'xyz'[axis]}(u)"
        yield Case(name, domain, text, (matrix, number), {**ANY, **RELAXED, **LEVELS, **lines})

    for name, domain, lines in (("coefficient 1D", Domain(Line(24, 1, VALUE, SLOPE)), LINES),
                                ("coefficient 2D", Domain(Line(12, 1, HOT), Line(8, 1, VALUE, EVEN)), {}),
                                ("coefficient, ring", Domain(Line(12, 1, RING), Line(8, 1, HOT)), {})):
        matrix, number = domain.div_grad(coefficient(domain))
        yield Case(name, domain, "-div(a * grad(u))", (-matrix, -number),
                   {**ANY, **POSITIVE, **RELAXED, **LEVELS, **lines})

    for name, domain, by in (("nonlinear 1D", Domain(Line(24, 1, HOT)), "tridiagonal()"),
                             ("nonlinear 2D", Domain(Line(12, 1, EVEN), Line(10, 1, VALUE)), "cg(tol = 1e-2, strict = false)")):
        matrix, number = domain.laplacian()
        affine = 2 * identity(domain) - 0.1 * matrix, -0.1 * number
        solvers = {"newton": ANY["newton"], **RELAXED, "fas": LEVELS["fas"],
                   "full_multigrid": LEVELS["full_multigrid"], **richardson(np.abs(affine[0]).sum(1).max() + 10),
                   **lagged("frozen", by)}
        yield Case(name, domain, "2 * u - 0.1 * laplacian(u) + u^3", affine, solvers,
                   (lambda u: u**3, lambda u: 3 * u**2),
                   extra="operator frozen(c, u) {\n" + domain.text()[1] +
                         "    return 2 * u - 0.1 * laplacian(u) + c^2 * u\n}\n")


def check(programs, case, mode, arguments):
    random = np.random.default_rng(7)
    shape = case.domain.shape
    b = random.uniform(-3, 3, int(np.prod(shape)))
    programs.file("b.npy", b.reshape(shape))
    programs.file("a.npy", coefficient(case.domain).reshape(shape))
    exact = case.solution(b)
    data = np.linalg.norm(b - case.of(np.zeros_like(b)))
    inverse = np.linalg.norm(np.linalg.inv(case.jacobian(exact)), 2)
    rounding = 1e-14 * np.linalg.norm(np.abs(case.matrix) @ np.abs(exact))
    out = programs.run(case.program(), *arguments)
    for solver in case.solvers:
        found = load(out, f"{solver}.npy").ravel()
        left = np.linalg.norm(b - case.of(found))
        allowed = TOL * data * (1 + 1e-6) + 10 * rounding
        what = f"{solver}, {case.name}, {mode}"
        programs.compare(f"residual of {what}, relative to what was asked for", np.array([max(1, left / allowed)]),
                         np.array([1.0]), 0)
        programs.compare(what, found, exact, 2 * inverse * allowed)


def main():
    programs = Programs()
    tried = set()
    for number, case in enumerate(cases()):
        tried |= set(case.solvers)
        for mode, arguments in MODES.items():
            if mode == "jit" or number == 3 and mode != "interpret":
                check(programs, case, mode, arguments)
    source = os.environ.get("PDN_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    with open(os.path.join(source, "stdlib", "solvers.pdn"), encoding="utf-8") as file:
        for name in re.findall(r"^solver (\w+)", file.read(), re.M):
            if name not in tried | {"none"}: # no preconditioner: solves nothing
                programs.checked += 1
                programs.wrong += 1
                print(f"no case of {name}")
    programs.end()


main()
