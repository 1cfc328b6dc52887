#!/usr/bin/python3
"""What `pdn check` claims to be proved, against explicit matrices and fields that are made to grow: random stencils,
fluxes, sides, step sizes and schemes. A certificate that is false fails; that there are enough of them is looked at, too.

certificates.py [table] [SEED]: the verdicts, counted; other cases."""
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # small matrices

from _programs import PDN, np  # pylint: disable=wrong-import-position
from _safetensors import load as safetensors_load  # pylint: disable=wrong-import-position

RNG = np.random.default_rng(next((int(a) for a in sys.argv[1:] if a.isdigit()), 2026))
SIDES = {"reflecting": "reflecting", "periodic": "periodic", "zero": "zero", "dirichlet": "dirichlet(0)"}
# name: (pdn, multiplier Φ(s)/s of an array s, L)
FLUXES = {
    "perona_malik": ("s / (1 + s^2 / 0.25)", lambda s: 1 / (1 + s**2 / 0.25), 1),
    "charbonnier": ("s / sqrt(1 + s^2)", lambda s: 1 / np.sqrt(1 + s**2), 1),
    "exponential": ("s * exp(-s^2 / 2)", lambda s: np.exp(-s**2 / 2), 1),
    "steep": ("tanh(3 * s)", lambda s: np.where(s == 0, 3, np.tanh(3 * s) / np.where(s == 0, 1, s)), 3),
    "clamped": ("min(max(s, -1), 1)", lambda s: np.where(abs(s) < 1, 1, 1 / np.maximum(abs(s), 1)), 1),
    "wave": ("0.5 * s * (1 + cos(s))", lambda s: 0.5 * (1 + np.cos(s)), 1),
    "linear": ("2 * s", lambda s: 2 + 0 * s, 2),
}
# no step has a proof
WRONG = {"backward": "-s", "both": "s * cos(s)", "cubic": "s^3", "shifted": "s / (1 + s^2) + 0.1", "jump": "sign(s)"}


# ---- matrices -------------------------------------------------------------------------------

def ghost(i, n, side):
    """Where cell i of n is read, and its sign."""
    if side == "periodic":
        return i % n, 1
    sign = 1
    while not 0 <= i < n:
        if side == "zero":
            return 0, 0
        i = -1 - i if i < 0 else 2 * n - 1 - i
        sign *= -1 if side == "dirichlet" else 1
    return i, sign


def stencil_matrix(weights, shape, side):
    """Cross-correlation with weights (slowest axis first) on a grid of that shape."""
    matrix = np.zeros((int(np.prod(shape)),) * 2)
    middle = [w // 2 for w in weights.shape]
    for at in itertools.product(*map(range, shape)):
        row = np.ravel_multi_index(at, shape)
        for tap in itertools.product(*map(range, weights.shape)):
            read = [ghost(p + t - m, n, side) for p, t, m, n in zip(at, tap, middle, shape)]
            column = np.ravel_multi_index([r[0] for r in read], shape)
            matrix[row, column] += weights[tap] * np.prod([r[1] for r in read])
    return matrix


def text_of(weights):
    return json.dumps(weights.tolist())


def grid_of(shape):
    return f"box({', '.join(f'[0, {n}]' for n in reversed(shape))}, cells = {list(reversed(shape))})"


# ---- verdicts ----------------------------------------------------------------------------------

def check(program, folder):
    """Lines of `pdn check`: {(experiment, line): [(scheme, text)]}."""
    path = os.path.join(folder, "program.pdn")
    with open(path, "w", encoding="utf-8") as file:
        file.write(program)
    done = subprocess.run([PDN, "check", path], capture_output=True, text=True, check=False, timeout=600)
    found = {}
    for line in done.stdout.splitlines():
        experiment, number, scheme, text = re.fullmatch(r"(\w+), line (\d+), (\w+): (.*)", line).groups()
        found.setdefault(experiment, []).append((scheme, text))
    if done.returncode and re.search(r"error: (?!this step is proved unstable)", done.stderr):
        print(done.stderr)
        sys.exit(1)
    return found  # experiments whose step is refused as proved unstable are missing


def number(text, name):
    match = re.search(re.escape(name) + r" = ([-+.\deginf]+)", text)
    return float(match.group(1)) if match else None


class Counts:
    def __init__(self):
        self.checked = self.wrong = 0
        self.verdicts = {}

    def note(self, kind, text):
        verdict = re.match(r"proved stable|proved unstable|no proof", text).group(0)
        key = (kind, verdict)
        self.verdicts[key] = self.verdicts.get(key, 0) + 1
        return verdict

    def expect(self, ok, message):
        self.checked += 1
        if not ok:
            self.wrong += 1
            print(message)


# ---- explicit steps with a flux -------------------------------------------------------------------

def take_step(scheme, K, multiplier, tau, u):
    def F(v):
        return -K.T @ (multiplier(K @ v) * (K @ v))
    if scheme == "explicit":
        return u + tau * F(u)
    a = u + tau * F(u)
    if scheme == "heun":
        return u + tau / 2 * (F(u) + F(a))
    if scheme == "midpoint":
        return u + tau * F(u + tau / 2 * F(u))
    b = 3 / 4 * u + 1 / 4 * (a + tau * F(a))
    return u / 3 + 2 / 3 * (b + tau * F(b))


def attack(K, multiplier, tau, scheme="explicit"):
    """The largest ‖S(u)‖/‖u‖ that is found, S(u) = u - τ Kᵀ m(K u) K u: from random fields of many sizes, again and again
    the field that grows most with the diffusivities of the one before."""
    n = K.shape[1]
    worst = 0.0
    for size in (1e-6, 1e-2, 0.3, 1, 3, 30):
        for _ in range(3):
            u = RNG.normal(size=n)
            for _ in range(12):
                u *= size * np.sqrt(n) / max(np.linalg.norm(u), 1e-300)
                m = multiplier(K @ u)
                A = np.eye(n) - tau * K.T @ (m[:, None] * K)
                worst = max(worst, np.linalg.norm(take_step(scheme, K, multiplier, tau, u)) / np.linalg.norm(u))
                values, vectors = np.linalg.eigh(A)
                u = vectors[:, np.argmax(abs(values))] + 1e-3 * RNG.normal(size=n) / np.sqrt(n)
    return worst


def random_weights(rank):
    size = {1: (5,), 2: (3, 3), 3: (3, 1, 3)}[rank]
    weights = RNG.normal(size=size)
    if RNG.random() < 0.3:
        weights -= weights.mean()
    if RNG.random() < 0.3:
        weights = weights + np.flip(weights)
    return np.round(weights, 3)


def sector_cases(counts, folder):
    cases, text = {}, ["precision f64", "use schemes", ""]
    shapes = {1: (14,), 2: (5, 6), 3: (3, 3, 4)}
    for flux, (formula, multiplier, L) in FLUXES.items():
        text.append(f"fn {flux}_phi(s) = {formula}")
    for flux, formula in WRONG.items():
        text.append(f"fn {flux}_phi(s) = {formula}")
    kinds = list(FLUXES) + list(WRONG)
    for i in range(60):
        rank = 1 + i % 3
        side = list(SIDES)[i // 3 % 4]
        flux = kinds[RNG.integers(len(kinds))]
        weights, shape = random_weights(rank), shapes[rank]
        K = stencil_matrix(weights, shape, side)
        L = FLUXES[flux][2] if flux in FLUXES else 1
        truth = 2 / (L * np.linalg.norm(K, 2) ** 2)
        scheme = ["explicit", "explicit", "heun", "ssp_rk3", "midpoint"][int(RNG.integers(5))]
        tau = float(truth * RNG.choice([0.3, 0.8, 0.999, 1.001, 1.05, 2]))
        text.append(f"operator K{i}(u) {{\n    boundary u = {SIDES[side]}\n    return stencil({text_of(weights)})(u)\n}}\n"
                    f"operator F{i}(u) = -adjoint(K{i})({flux}_phi(K{i}(u)))\n"
                    f"experiment e{i} {{\n    grid G = {grid_of(shape)}\n    let f = normal(G.x)\n"
                    f"    print \"x\": mean({scheme}(F{i}, tau = {tau!r}, steps = 3)(f))\n}}\n")
        cases[f"e{i}"] = (K, flux, tau, truth, scheme, f"{side}, {rank}D")
    found = check("\n".join(text), folder)
    for name, (K, flux, tau, truth, scheme, place) in cases.items():
        where = f"{name}: {scheme}, {flux}, {place}, τ = {tau / truth:.4g} of the true bound"
        if name not in found:  # refused: proved unstable
            counts.expect(flux == "linear" and tau > truth * (1 - 1e-9), f"{where}: refused")
            counts.note("refused", "proved unstable")
            continue
        verdict = counts.note(f"{scheme}, nonlinear", found[name][0][1])
        if flux in WRONG:
            counts.expect(verdict != "proved stable", f"{where}: {found[name][0][1]}")
            continue
        growth = attack(K, FLUXES[flux][1], tau, scheme)
        if verdict == "proved stable":
            counts.expect(growth <= 1 + 1e-10, f"{where}: proved stable, and a field grows by {growth!r}")
            counts.expect(tau <= truth * (1 + 1e-9) or flux == "linear", f"{where}: beyond the bound of the matrix")
        elif scheme != "midpoint":
            counts.expect(tau > truth * 0.6, f"{where}: {found[name][0][1]}")
        if scheme == "explicit" and tau > truth * 1.04 and flux != "steep":
            counts.expect(growth > 1, f"{where}: the attack finds no growth beyond the bound ({growth!r}); it is too weak")


# ---- linear schemes --------------------------------------------------------------------------------

def companion(blocks):
    """[[a, b], [1, 0]] of u[k+1] = a u[k] + b u[k-1]."""
    n = blocks[0].shape[0]
    return np.block([[blocks[0], blocks[1]], [np.eye(n), np.zeros((n, n))]])


def fsi_matrices(F, tau, n):
    one = np.eye(F.shape[0])
    before, now = one, one
    for k in range(n):
        a = (4 * k + 2) / (2 * k + 3)
        before, now = now, a * (now + tau * F @ now) + (1 - a) * before
    return now


def fed_matrix(F, tau, n):
    one = product = np.eye(F.shape[0])
    for j in range(1, n + 1):
        product = (one + tau / (2 * np.sin(np.pi * j / (2 * n + 1)) ** 2) * F) @ product
    return product


def scheme_truth(scheme, F, tau, alpha):
    """(matrix of one application, is it a two-step one)."""
    one, T = np.eye(F.shape[0]), tau * F
    if scheme == "explicit":
        return one + T, False
    if scheme in ("heun", "midpoint"):
        return one + T + T @ T / 2, False
    if scheme == "ssp_rk3":
        return one + T + T @ T / 2 + T @ T @ T / 6, False
    if scheme == "rk4":
        return one + T + T @ T / 2 + T @ T @ T / 6 + T @ T @ T @ T / 24, False
    if scheme == "fsi":
        return fsi_matrices(F, tau, 5), False
    if scheme == "fed":
        return fed_matrix(F, tau, 5), False
    if scheme == "leapfrog":
        return companion((2 * T, one)), True
    if scheme == "verlet":
        return companion((2 * one + tau * T, -one)), True
    w = 2 * tau * alpha
    return companion(((2 * w * one + 2 * T) / (1 + w), (1 - w) / (1 + w) * one)), True


CALLS = {"fsi": "fsi(F{i}, tau = {tau!r}, cycles = 2, length = 5)(f)", "fed": "fed(F{i}, tau = {tau!r}, cycles = 2, length = 5)(f)",
         "verlet": "verlet(F{i}, tau = {tau!r}, steps = 3)(f, f)",
         "du_fort_frankel_damped": "du_fort_frankel(F{i}, tau = {tau!r}, steps = 3, alpha = {alpha!r})(f)"}
LINEAR = ["explicit", "heun", "midpoint", "ssp_rk3", "rk4", "fsi", "fed", "leapfrog", "verlet", "du_fort_frankel_damped"]


def largest_power(G):
    worst, power = 1.0, G
    for _ in range(20):
        norm = np.linalg.norm(power, 2)
        if not np.isfinite(norm) or norm > 1e8:
            return np.inf
        worst = max(worst, norm)
        power = power @ power
    step = G
    for _ in range(200):
        worst = max(worst, np.linalg.norm(step, 2))
        step = step @ G
    return worst


def linear_stencil(kind, rank):
    if kind == "diffusion":
        weights = np.zeros((3,) * rank)
        for axis in range(rank):
            at = [1] * rank
            for d, w in ((0, 1), (1, -2), (2, 1)):
                at[axis] = d
                weights[tuple(at)] += w
        return weights
    if kind == "transport":
        weights = np.zeros((3,) * rank)
        weights[(1,) * (rank - 1) + (0,)], weights[(1,) * (rank - 1) + (2,)] = 0.5, -0.5
        return weights
    if kind == "upwind":
        weights = np.zeros((3,) * rank)
        weights[(1,) * (rank - 1) + (0,)], weights[(1,) * rank] = 1, -1
        return weights
    weights = np.round(RNG.normal(size=(3,) * rank), 2)
    weights[(1,) * rank] -= np.round(abs(weights).sum(), 2)
    return weights + np.flip(weights) if kind == "even" else weights


def linear_cases(counts, folder):
    cases, text = {}, ["precision f64", "use schemes", ""]
    for i in range(130):
        scheme = LINEAR[i % len(LINEAR)]
        rank = int(RNG.integers(1, 3))
        shape = {1: (13,), 2: (6, 7)}[rank]
        kind = ["diffusion", "transport", "upwind", "even", "any"][int(RNG.integers(5))]
        side = list(SIDES)[int(RNG.integers(4))]
        weights = linear_stencil(kind, rank)
        F = stencil_matrix(weights, shape, side)
        radius = max(abs(np.linalg.eigvals(F)))
        tau = float(RNG.choice([0.3, 0.95, 1, 1.001, 1.9, 1.999, 2, 2.001, 2.1, 2.78, 5]) / max(radius, 1e-3))
        alpha = float(RNG.choice([0.2, 0.25, 0.3, 1]) * radius)
        call = CALLS.get(scheme, scheme + "(F{i}, tau = {tau!r}, steps = 3)(f)").format(i=i, tau=tau, alpha=alpha)
        text.append(f"operator F{i}(u) {{\n    boundary u = {SIDES[side]}\n    return stencil({text_of(weights)})(u)\n}}\n"
                    f"experiment e{i} {{\n    grid G = {grid_of(shape)}\n    let f = normal(G.x)\n"
                    f"    print \"x\": mean({call})\n}}\n")
        cases[f"e{i}"] = (scheme, kind, side, rank, F, tau, alpha)
    found = check("\n".join(text), folder)
    for name, (scheme, kind, side, rank, F, tau, alpha) in cases.items():
        G, two = scheme_truth(scheme, F, tau, alpha)
        radius = max(abs(np.linalg.eigvals(G)))
        norm = np.linalg.norm(G, 2)
        where = f"{name}: {scheme} of {kind}, {side}, {rank}D, τ = {tau:.6g}; radius {radius!r}, norm {norm!r}"
        lines = [t for s, t in found.get(name, []) if s == scheme]
        if not lines:
            counts.expect(radius > 1 + 1e-10, f"{where}: refused")
            counts.note("refused", "proved unstable")
            continue
        verdict = counts.note(scheme, lines[-1])
        said = lines[-1]
        if verdict == "proved unstable":
            counts.expect(radius > 1 + 1e-10, f"{where}: {said}")
        elif verdict == "proved stable" and "powers of the step" in said:
            most, least = largest_power(G), number(said, "powers at most")
            counts.expect(most < 1e6 and (least is None or most <= least * (1 + 1e-6)), f"{where}: powers {most!r}; {said}")
        elif verdict == "proved stable" and "states before" in said:
            first, second = np.split(G[:F.shape[0]], 2, axis=1)
            counts.expect(np.linalg.norm(first, 2) + np.linalg.norm(second, 2) <= 1 + 1e-9, f"{where}: {said}")
        elif verdict == "proved stable":
            counts.expect(not two and norm <= 1 + 1e-10, f"{where}: {said}")
        elif scheme in ("explicit", "heun", "midpoint") and norm <= 1 - 1e-6 and side == "periodic":
            # (steps that read further than these small grids go have no proof)
            counts.expect(False, f"{where}: the norm is below 1, and {said}")


# ---- networks with weights --------------------------------------------------------------------------

def write_tensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, np.float64).tobytes()
        header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def network_cases(counts, folder):
    """Trained networks: each layer by its own weights, however they alternate."""
    depth, channels, n = 4, 2, 12
    text, cases = ["precision f64", "use networks", "use diffusion", ""], {}
    for i in range(12):
        net = ["symmetric_resnet", "fsi_net", "du_fort_frankel_net"][i % 3]
        scale = [0.2, 1, 3, 10][i // 3]
        K = RNG.normal(size=(depth, channels, 1, 3)) * scale * np.where(np.arange(depth) % 2, 1, 0.1)[:, None, None, None]
        tensors = {"K": K, "contrast": np.full(depth, 0.1)}
        if net == "du_fort_frankel_net":
            tensors["r"] = np.full(depth, [0.5, 4, 1, 30][i // 3])
        write_tensors(os.path.join(folder, f"net{i}.safetensors"), tensors)
        size = "cycles = 2, length = 2" if net == "fsi_net" else f"depth = {depth}"
        text.append(f"experiment e{i} {{\n    grid G = box([0, {n}], cells = [{n}])\n    let f = normal(G.x)\n"
                    f"    let net = {net}({size}, channels = {channels}, size = 3)\n"
                    f"    load net from \"net{i}.safetensors\"\n    print \"x\": mean(net(f))\n}}\n")
        layers = [np.vstack([stencil_matrix(K[k, c, 0], (n,), "reflecting") for c in range(channels)]) for k in range(depth)]
        cases[f"e{i}"] = (net, layers, tensors.get("r"))
    found = check("\n".join(text), folder)
    for name, (net, layers, r) in cases.items():
        said = found[name][-1][1]
        verdict = counts.note(net, said)
        worst = max(attack(K, FLUXES["perona_malik"][1], 2) for K in layers)
        where = f"{name}: {net}, norms {[round(float(np.linalg.norm(K, 2)), 3) for K in layers]}"
        if net == "fsi_net" or (r is not None and r[0] > 1):
            counts.expect(verdict == "no proof", f"{where}: {said}")
        elif verdict == "proved stable":
            counts.expect(worst <= 1 + 1e-10, f"{where}: a layer grows by {worst!r}; {said}")
        else:
            counts.expect(max(np.linalg.norm(K, 2) for K in layers) > 0.6, f"{where}: {said}")


def file_cases(counts, folder):
    """A saved network and kernels say the same of the same weights."""
    program = os.path.join(folder, "net.pdn")
    with open(program, "w", encoding="utf-8") as file:
        file.write("""precision f64
use networks

network denoiser(depth = 3)(f) = symmetric_resnet(depth = depth, channels = 2, size = 3)(f)

experiment save_it {
    grid G = box([0, 12], cells = [12])
    let f = sin(G.x)
    let net = denoiser()
    train net for 3 steps with sgd(rate = 0.01) {
        minimise mean((net(f) - 0.5 * f)^2)
    }
    save net to "net.safetensors"
}
""")

    def pdn(*arguments):
        done = subprocess.run([PDN, *arguments], capture_output=True, text=True, check=False, cwd=folder, timeout=600)
        counts.expect(done.returncode == 0, done.stderr)

    def manifest():
        with open(os.path.join(folder, "denoiser.json"), encoding="utf-8") as file:
            return json.load(file)["certificate"]
    pdn("run", program, "--out", folder, "--no-cache", "--quiet")
    arrays, metadata = safetensors_load(os.path.join(folder, "net.safetensors"))
    said = json.loads(metadata["pdn.certificate"])
    norms = [np.linalg.norm(np.vstack([stencil_matrix(K[c, 0], (40,), "reflecting") for c in range(2)]), 2)
             for K in arrays["denoiser.K" if "denoiser.K" in arrays else next(k for k in arrays if k.endswith("K"))]]
    counts.expect(len(said) == 1 and said[0]["verdict"] == "proved stable" and said[0]["theorem"] == "sector" and
                  said[0]["steps"] == 3, f"metadata: {said}")
    found = said[0]["numbers"]["τ L ‖K‖²"]
    counts.expect(2 * max(norms) ** 2 <= found * (1 + 1e-9) <= 2 + 1e-6, f"metadata: {found}, and the matrices have {norms}")
    pdn("build", program, "denoiser", "--size", "?", "--weights", "net.safetensors", "-o", folder)
    whole = manifest()
    counts.expect(whole["verdict"] == "proved stable" and whole["theorem"] == "composition" and whole["part"] == "sector" and
                  abs(whole["numbers"]["τ L ‖K‖²"] - found) < 1e-6, f"manifest: {whole}")
    pdn("build", program, "denoiser", "--size", "?", "-o", folder)
    counts.expect(manifest()["verdict"] == "no proof" and "weights" in manifest()["missing"],
                  f"weights that are inputs: {manifest()}")


def main():
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="pdn-check-") as folder:
        sector_cases(counts, folder)
        linear_cases(counts, folder)
        network_cases(counts, folder)
        file_cases(counts, folder)
    if "table" in sys.argv:
        for (kind, verdict), count in sorted(counts.verdicts.items()):
            print(f"{kind:24} {verdict:16} {count}")
    stable = sum(n for (_, verdict), n in counts.verdicts.items() if verdict == "proved stable")
    unstable = sum(n for (_, verdict), n in counts.verdicts.items() if verdict == "proved unstable")
    counts.expect(stable >= 30 and unstable >= 8, f"only {stable} proved stable, {unstable} unstable")
    print(f"{counts.checked - counts.wrong} passed, {counts.wrong} failed, 0 skipped")
    sys.exit(1 if counts.wrong else 0)


main()
