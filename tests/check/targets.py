#!/usr/bin/python3
"""Standalone kernels for other processors, run: x86-64 without vector extensions, with AVX-512 where the
machine has it, aarch64 under qemu, wasm32 in node; against this machine's own result. The tolerance is 2e-6
of the largest value: the kernels differ in fused multiply-add alone. What cannot run here says so. A trained
network with its weights inside, and its derivative, are among them; for this machine's own processor its bits are
those of the program that loads the weights."""
import os
import shutil
import subprocess
import sys

from _programs import PDN, Programs, load, np

PROGRAM = """use schemes
use diffusion

operator denoise(lambda = 0.05, steps = 7)(u) =
    explicit(nonlinear_diffusion(g = perona_malik, lambda = lambda), tau = 0.2, steps = steps)(u)

operator waves(u) = sin(4 * u) + exp(-u^2) * sqrt(1 + u^2)

network net(depth, channels = 6)(f) {
    param A          = conv(1 -> channels, size = 3)
    param K[depth]   = conv(channels -> channels, size = 3, bias = true)
    param tau[depth] = 0.1 in [0.001, 10]
    param B          = conv(channels -> 1, size = 3, boundary = zero)
    u[0] = A(f)
    u[k+1] = u[k] + tau[k] * tanh(K[k](u[k]))
    return f + B(u[depth])
}

experiment training {
    grid G = box([0, 24], [0, 20], cells = [24, 20])
    let n = net(depth = 3)
    train n for 30 steps with adam(rate = 1e-2) {
        let x = sin(0.3 * G.x) * cos(0.2 * G.y)
        minimise mean((n(x + 0.3 * normal(x)) - x)^2)
    }
    save n to "net.safetensors"
}
"""
HERE = """
experiment here {
    grid G = box([0, 61], [0, 43], cells = [61, 43])
    let f = uniform(G.x)
    save f to "f.npy"
    save denoise()(f) to "denoise.npy"
    save waves(f) to "waves.npy"
    let n = net(depth = 3)
    load n from "net.safetensors"
    save n(f) to "net.npy"
    save vjp(n, f)(f) to "net_vjp.npy"
}
"""
HEIGHT, WIDTH = 43, 61
MAIN = """#include "%(name)s.h"
#include <stdio.h>
#include <stdlib.h>
#define COUNT (%(height)d * %(width)d)
static _Alignas(64) float u[COUNT], v[COUNT];
int main(void) {
    const int64_t size[] = {%(height)d, %(width)d};
    const float *in[] = {u};
    float *out[] = {v};
    FILE *file = fopen("f.bin", "rb");
    if (!file || fread(u, sizeof *u, COUNT, file) != COUNT)
        return 90;
    void *workspace = aligned_alloc(64, (%(name)s_workspace(size) + 127) / 64 * 64);
    int status = %(call)s;
    if (status)
        return status;
    fclose(file);
    file = fopen("v.bin", "wb");
    return !file || fwrite(v, sizeof *v, COUNT, file) != COUNT || fclose(file) ? 91 : 0;
}
"""
NODE = """const fs = require('fs');
const imports = {env: {}};
for (const f of ['sin', 'cos', 'exp', 'log', 'pow', 'tanh']) imports.env[f + 'f'] = (...a) => Math.fround(Math[f](...a));
imports.env.fmaf = (a, b, c) => Math.fround(a * b + c);
WebAssembly.instantiate(fs.readFileSync('k.wasm'), imports).then(({instance}) => {
    const e = instance.exports, data = fs.readFileSync('f.bin');
    const align = p => (p + 63) & ~63;
    let top = align(e.__heap_base.value);
    const take = n => { const p = top; top = align(top + n); return p; };
    const size = take(16), ins = take(4), outs = take(4), u = take(data.length), v = take(data.length);
    let view = new DataView(e.memory.buffer);
    view.setBigInt64(size, %(height)dn, true); view.setBigInt64(size + 8, %(width)dn, true);
    view.setUint32(ins, u, true); view.setUint32(outs, v, true);
    new Uint8Array(e.memory.buffer, u, data.length).set(data);
    const workspace = take(Number(e.%(name)s_workspace(size)));
    const missing = top - e.memory.buffer.byteLength;
    if (missing > 0) e.memory.grow(Math.ceil(missing / 65536));
    const status = e.%(node_call)s;
    if (status) process.exit(status);
    fs.writeFileSync('v.bin', new Uint8Array(e.memory.buffer, v, data.length));
});
"""


def run(command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def native(folder, name):
    return (run(["cc", "main.c", f"{name}.o", "-lm", "-o", "main"], folder) and
            run(["./main"], folder))


def aarch64(folder, name):
    return (run(["aarch64-linux-gnu-gcc", "-static", "main.c", f"{name}.o", "-lm", "-o", "main"], folder)
            and run(["qemu-aarch64", "./main"], folder))


def wasm(folder, name):
    linker = shutil.which("wasm-ld-19") or "wasm-ld"
    return (run([linker, "--no-entry", "--allow-undefined", "--export=__heap_base", f"--export={name}",
                 f"--export={name}_workspace", f"--export-if-defined={name}_vjp", f"{name}.o", "-o", "k.wasm"], folder)
            and run(["node", "main.js"], folder))


def has_avx512():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return " avx512f " in file.read()


TARGETS = {
    "native": ([], native, ["cc"]),
    "x86-64": (["--cpu", "x86-64"], native, ["cc"]),
    "x86-64-v4": (["--cpu", "x86-64-v4"], native, ["cc"]),
    "aarch64": (["--target", "aarch64-linux-gnu", "--cpu", "generic"], aarch64,
                ["aarch64-linux-gnu-gcc", "qemu-aarch64"]),
    "wasm32": (["--target", "wasm32-unknown-unknown", "--cpu", "generic"], wasm, ["node"]),
}


# Result: the kernel, what it is built with, the call in C and in JavaScript.
RESULTS = {
    "denoise": ("denoise", [], "denoise(size, in, out, workspace)", "denoise(size, ins, outs, workspace)"),
    "waves": ("waves", [], "waves(size, in, out, workspace)", "waves(size, ins, outs, workspace)"),
    "net": ("net", ["depth=3", "--weights", "net.safetensors"],
            "net(size, in, out, workspace)", "net(size, ins, outs, workspace)"),
    "net_vjp": ("net", ["depth=3", "--weights", "net.safetensors", "--gradient"],
                "net_vjp(size, in, in, out, workspace)", "net_vjp(size, ins, ins, outs, workspace)"),
}


def check(programs, here, target, result):
    options, execute, needs = TARGETS[target]
    name, more, call, node_call = RESULTS[result]
    missing = [tool for tool in needs if not shutil.which(tool)]
    if target == "wasm32" and not (shutil.which("wasm-ld-19") or shutil.which("wasm-ld")):
        missing.append("wasm-ld-19")
    if target == "x86-64-v4" and not has_avx512():
        missing.append("AVX-512")
    folder = os.path.join(programs.folder, f"{target}-{result}")
    os.mkdir(folder)
    program = os.path.join(here, "program.pdn")
    built = run([PDN, "build", program, name, "-o", folder, "--emit", "obj,header"] + more + options, here)
    programs.checked += 1
    if not built:
        programs.wrong += 1
        return
    if missing:
        programs.skip(f"{result} for {target}: built, not run: no {', '.join(missing)}")
        return
    words = {"name": name, "height": HEIGHT, "width": WIDTH, "call": call, "node_call": node_call}
    for file, text in (("main.c", MAIN), ("main.js", NODE)):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as to:
            to.write(text % words)
    load(here, "f.npy").tofile(os.path.join(folder, "f.bin"))
    if not execute(folder, name):
        programs.wrong += 1
        return
    found = np.fromfile(os.path.join(folder, "v.bin"), dtype=np.float32).reshape(HEIGHT, WIDTH)
    programs.compare(f"{target}, {result}", found, load(here, f"{result}.npy"), 0 if target == "native" else 2e-6)


def main():
    programs = Programs()
    here = programs.run(PROGRAM)
    with open(os.path.join(here, "program.pdn"), "w", encoding="utf-8") as file:
        file.write(PROGRAM + HERE)
    if not run([PDN, "run", "program.pdn", "here"], here):
        sys.exit(1)
    for target in TARGETS:
        for result in RESULTS:
            check(programs, here, target, result)
    programs.end()


if sys.byteorder != "little":
    print("for little-endian machines")
    sys.exit(77)
main()
