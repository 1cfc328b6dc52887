#!/usr/bin/python3
"""`--exact`: divisions are NumPy's bit for bit, functions those of the C library; without it both are near."""
import ctypes
import ctypes.util

from _programs import Programs, load, np

LIBRARY = ctypes.CDLL(ctypes.util.find_library("m"))
FUNCTIONS = ["exp", "expm1", "log", "log1p", "tanh", "sin", "cos"]
PROGRAM = """experiment e {{
    let a = image("a.npy")
    let b = image("b.npy")
    save a / b to "quotient.npy"
    save 1 / b to "reciprocal.npy"
    save a / max(b) to "shared.npy"
{functions}
}}
"""


def of_library(name, x):
    call = getattr(LIBRARY, name + "f")
    call.argtypes, call.restype = [ctypes.c_float], ctypes.c_float
    return np.array([call(float(v)) for v in x.ravel()], dtype=np.float32).reshape(x.shape)


def main():
    programs = Programs()
    random = np.random.default_rng(5)
    shape = (23, 61)
    a = (random.uniform(-1, 1, shape) * 2.0 ** random.integers(-20, 20, shape)).astype(np.float32)
    b = (random.uniform(0.1, 1, shape) * 2.0 ** random.integers(-6, 6, shape)).astype(np.float32)
    programs.file("a.npy", a)
    programs.file("b.npy", b)
    truth = {"quotient": a / b, "reciprocal": np.float32(1) / b, "shared": a / b.max()}
    for name in FUNCTIONS:
        truth[name] = of_library(name, b)
    lines = "\n".join(f'    save {name}(b) to "{name}.npy"' for name in FUNCTIONS)
    text = PROGRAM.format(functions=lines)
    for arguments, ulps in ((["--exact"], 0), (["--exact", "--threads", "1"], 0), ([], 4)):
        out = programs.run(text, *arguments)
        for name, expected in truth.items():
            found = load(out, f"{name}.npy")
            programs.checked += 1
            apart = np.abs(found.astype(np.float64) - expected) / np.spacing(np.abs(expected))
            if found.dtype != np.float32 or not apart.max() <= ulps:
                programs.wrong += 1
                print(f"{name} {' '.join(arguments)}: {apart.max()} ulp, at most {ulps} are allowed")
    programs.end()


main()
