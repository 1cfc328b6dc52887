#!/usr/bin/python3
"""Whole programs of the library, every scheme among them, against the same written directly in NumPy."""
from _programs import Programs, load, np

RNG = np.random.default_rng(20240229)


def difference(u, axis):
    """Forward differences across faces; the last face reflects: 0."""
    return np.diff(u, axis=axis, append=np.take(u, [-1], axis=axis))


def divergence(flux, axis):
    """Minus the transpose of `difference`."""
    inner = np.take(flux, range(flux.shape[axis] - 1), axis=axis)
    pad = [(0, 0)] * flux.ndim
    right, left = list(pad), list(pad)
    right[axis], left[axis] = (0, 1), (1, 0)
    return np.pad(inner, right) - np.pad(inner, left)


def diffusion(g):
    """u -> div(g(|grad u|²) grad u), reflecting, spacing 1."""
    def apply(u, t=0.0):
        parts = [difference(u, a) for a in range(u.ndim)]
        weight = g(sum(p * p for p in parts))
        return sum(divergence(weight * p, a) for a, p in enumerate(parts))
    return apply


def laplacian_periodic(u):
    return sum(np.roll(u, s, a) for a in range(u.ndim) for s in (1, -1)) - 2 * u.ndim * u


DIFFUSIVITIES = {
    "charbonnier": lambda s2, l: 1 / np.sqrt(1 + s2 / l**2),
    "perona_malik": lambda s2, l: 1 / (1 + s2 / l**2),
    "exponential_perona_malik": lambda s2, l: np.exp(-s2 / (2 * l**2)),
    "weickert": lambda s2, l: 1 - np.exp(-3.31488 / np.maximum(s2 / l**2, 1e-6) ** 4),
    "total_variation": lambda s2, l: 1 / np.sqrt(s2 + l**2),
    "geman_mcclure": lambda s2, l: 1 / (1 + s2 / l**2) ** 2,
}


def explicit(F, tau, steps, u):
    for k in range(steps):
        u = u + tau * F(u, k * tau)
    return u


def heun_step(F, tau, u, t):
    a = F(u, t)
    return u + tau / 2 * (a + F(u + tau * a, t + tau))


def heun(F, tau, steps, u):
    for k in range(steps):
        u = heun_step(F, tau, u, k * tau)
    return u


def midpoint(F, tau, steps, u):
    for k in range(steps):
        u = u + tau * F(u + tau / 2 * F(u, k * tau), k * tau + tau / 2)
    return u


def ssp_rk3(F, tau, steps, u):
    for k in range(steps):
        t = k * tau
        a = u + tau * F(u, t)
        b = 3 / 4 * u + 1 / 4 * (a + tau * F(a, t + tau))
        u = 1 / 3 * u + 2 / 3 * (b + tau * F(b, t + tau / 2))
    return u


def rk4(F, tau, steps, u):
    for k in range(steps):
        t = k * tau
        a = F(u, t)
        b = F(u + tau / 2 * a, t + tau / 2)
        c = F(u + tau / 2 * b, t + tau / 2)
        d = F(u + tau * c, t + tau)
        u = u + tau / 6 * (a + 2 * b + 2 * c + d)
    return u


def fsi_cycle(F, tau, n, u, t=0.0):
    old = u
    for k in range(n):
        a = (4 * k + 2) / (2 * k + 3)
        old, u = u, a * (u + tau * F(u, t + tau * (k * k + k) / 3)) + (1 - a) * old
    return u


def fsi(F, tau, cycles, n, u):
    for c in range(cycles):
        u = fsi_cycle(F, tau, n, u, c * tau * (n * n + n) / 3)
    return u


def du_fort_frankel(F, tau, steps, u, stable):
    alpha = 1 / (2 * stable)
    w = 2 * tau * alpha
    n = 1 if w <= 1 + 1e-9 else int(np.ceil(np.sqrt(3 * w + 0.25) - 0.5 - 1e-9))
    old, u = u, fsi_cycle(F, 3 * tau / (n * n + n), n, u)
    for k in range(1, steps):
        old, u = u, (2 * w * u + 2 * tau * F(u, k * tau) + (1 - w) * old) / (1 + w)
    return u


def fed_linear(matrix, tau, cycles, n, u):
    """FED for a linear operator, as its polynomial: the order of the steps does not matter."""
    values, vectors = np.linalg.eigh(matrix)
    factor = np.ones_like(values)
    for i in range(n):
        factor *= 1 + tau / (2 * np.cos(np.pi * (2 * i + 1) / (4 * n + 2)) ** 2) * values
    return vectors @ (factor**cycles * (vectors.T @ u))


PICTURE = """precision f64
use diffusion
use schemes

experiment picture {{
    let f = array("f.npy")
    let F = nonlinear_diffusion(g = {g}, lambda = {l})
    save {scheme}(f) to "u.npy"
}}
"""


def pictures(programs):
    f = RNG.random((13, 17))
    programs.file("f.npy", f)
    calls = {
        "explicit(F, tau = 0.2, steps = 7)": lambda F: explicit(F, 0.2, 7, f),
        "heun(F, tau = 0.2, steps = 5)": lambda F: heun(F, 0.2, 5, f),
        "midpoint(F, tau = 0.2, steps = 5)": lambda F: midpoint(F, 0.2, 5, f),
        "ssp_rk3(F, tau = 0.2, steps = 5)": lambda F: ssp_rk3(F, 0.2, 5, f),
        "rk4(F, tau = 0.2, steps = 5)": lambda F: rk4(F, 0.2, 5, f),
        "fsi(F, tau = 0.25, cycles = 2, length = 6)": lambda F: fsi(F, 0.25, 2, 6, f),
        "du_fort_frankel(F, tau = 2.0, steps = 5, alpha = 2.0)":
            lambda F: du_fort_frankel(F, 2.0, 5, f, 0.25),
    }
    for g, l in [("perona_malik", 0.1)]:
        F = diffusion(lambda s2: DIFFUSIVITIES[g](s2, l))
        for call, reference in calls.items():
            out = programs.run(PICTURE.format(g=g, l=l, scheme=call))
            programs.compare(f"{g}, {call}", load(out, "u.npy"), reference(F), 1e-12)
    for g, function in DIFFUSIVITIES.items():
        out = programs.run(PICTURE.format(g=g, l=0.3, scheme="explicit(F, tau = 0.05, steps = 4)"))
        F = diffusion(lambda s2: function(s2, 0.3))
        programs.compare(g, load(out, "u.npy"), explicit(F, 0.05, 4, f), 1e-12)


def volumes(programs):
    for shape, box in (((19,), "[0, 19], cells = [19]"), ((6, 7, 5), "[0, 5], [0, 7], [0, 6], cells = [5, 7, 6]")):
        f = RNG.random(shape)
        programs.file("f.npy", f)
        out = programs.run(f"""precision f64
use diffusion
use schemes

experiment volume {{
    grid G = box({box})
    let f = array("f.npy", G)
    save explicit(nonlinear_diffusion(g = charbonnier, lambda = 0.2), tau = 0.1, steps = 6)(f) to "u.npy"
}}
""")
        F = diffusion(lambda s2: DIFFUSIVITIES["charbonnier"](s2, 0.2))
        programs.compare(f"{len(shape)} dimensions", load(out, "u.npy"), explicit(F, 0.1, 6, f), 1e-12)


def cycles(programs):
    f = RNG.random(24)
    programs.file("f.npy", f)
    out = programs.run("""precision f64
use diffusion
use schemes

experiment cycles {
    grid G = box([0, 24], cells = [24])
    let f = array("f.npy", G)
    save fed(linear_diffusion(), tau = 0.5, cycles = 2, length = 9)(f) to "fed.npy"
    save fsi(linear_diffusion(), tau = 0.5, cycles = 2, length = 9)(f) to "fsi.npy"
}
""")
    matrix = np.array([diffusion(lambda s2: 1 + 0 * s2)(row) for row in np.eye(24)])
    expected = fed_linear(matrix, 0.5, 2, 9, f)
    programs.compare("fed", load(out, "fed.npy"), expected, 1e-12)
    programs.compare("fsi", load(out, "fsi.npy"), expected, 1e-12)


def reactions(programs):
    u, v = 1 - 0.5 * RNG.random((8, 9)), 0.3 * RNG.random((8, 9))
    programs.file("u.npy", u)
    programs.file("v.npy", v)
    out = programs.run("""precision f64
use equations
use schemes

experiment spots {
    let film = trajectory(explicit(gray_scott(), tau = 1.0, steps = 12), stride = 4)([array("u.npy"), array("v.npy")])
    let a, b = last(film)
    save [a, b] to "last.npy"
    save film to "film.npy"
}
""")
    states = [np.stack([u, v])]
    for k in range(12):
        a = 0.16 * laplacian_periodic(u) - u * v**2 + 0.035 * (1 - u)
        b = 0.08 * laplacian_periodic(v) + u * v**2 - 0.1 * v
        u, v = u + a, v + b
        if k % 4 == 3:
            states.append(np.stack([u, v]))
    programs.compare("gray_scott", load(out, "last.npy"), states[-1], 1e-12)
    film = load(out, "film.npy")
    if film.shape[0] == 2 != len(states):
        film = np.swapaxes(film, 0, 1)
    programs.compare("film of gray_scott", film, np.stack(states), 1e-12)


def waves(programs):
    f, v = RNG.random(15), RNG.random(15)
    programs.file("f.npy", f)
    programs.file("v.npy", v)
    out = programs.run("""precision f64
use equations
use schemes

operator ring(u) {
    boundary u = periodic
    return laplacian(u)
}

pde swept(u) {
    dt(u) = -cos(3 * t) * dx(u)
    boundary u = periodic
}

experiment waves {
    grid G = box([0, 15], cells = [15])
    let f = array("f.npy", G)
    save verlet(ring, tau = 0.8, steps = 20)(f, array("v.npy", G)) to "verlet.npy"
    save leapfrog(swept, tau = 0.3, steps = 20)(f) to "leapfrog.npy"
    save rk4(swept, tau = 0.3, steps = 20)(f) to "rk4.npy"
}
""")
    old, u = f - 0.8 * v + 0.32 * laplacian_periodic(f), f
    for _ in range(20):
        old, u = u, 2 * u - old + 0.64 * laplacian_periodic(u)
    programs.compare("verlet", load(out, "verlet.npy"), u, 1e-12)

    def F(u, t):
        return -np.cos(3 * t) * (np.roll(u, -1) - np.roll(u, 1)) / 2
    old, u = f, heun_step(F, 0.3, f, 0)
    for k in range(1, 20):
        old, u = u, old + 0.6 * F(u, k * 0.3)
    programs.compare("leapfrog", load(out, "leapfrog.npy"), u, 1e-12)
    programs.compare("rk4 in time", load(out, "rk4.npy"), rk4(F, 0.3, 20, f), 1e-12)


def similarity(programs):
    u = RNG.random((21, 24))
    v = np.clip(u + 0.1 * RNG.standard_normal(u.shape), 0, 1)
    programs.file("u.npy", u)
    programs.file("v.npy", v)
    out = programs.run("""precision f64
use metrics

experiment similarity {
    save ssim_map(array("u.npy"), array("v.npy")) to "ssim.npy"
}
""")
    i = np.arange(-5, 6)
    w = np.exp(-i**2 / (2 * 1.5**2))
    w /= w.sum()

    def blur(x):
        p = np.pad(x, 5, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(p, (11, 11))
        return np.einsum("ijkl,k,l->ij", windows, w, w)
    a, b = blur(u), blur(v)
    uu, vv, uv = blur(u * u) - a * a, blur(v * v) - b * b, blur(u * v) - a * b
    expected = (2 * a * b + 1e-4) * (2 * uv + 9e-4) / ((a * a + b * b + 1e-4) * (uu + vv + 9e-4))
    programs.compare("ssim", load(out, "ssim.npy"), expected, 1e-11)


def main():
    programs = Programs()
    pictures(programs)
    volumes(programs)
    cycles(programs)
    reactions(programs)
    waves(programs)
    similarity(programs)
    programs.end()


main()
