#!/usr/bin/python3
"""Standalone kernels for other processors, run: x86-64 without vector extensions, with AVX-512 where the
machine has it, aarch64 under qemu, wasm32 in node; against this machine's own result. The tolerance is 2e-6
of the largest value: the kernels differ in fused multiply-add alone. What cannot run here says so."""
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

experiment here {
    grid G = box([0, 61], [0, 43], cells = [61, 43])
    let f = uniform(G.x)
    save f to "f.npy"
    save denoise()(f) to "denoise.npy"
    save waves(f) to "waves.npy"
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
    int status = %(name)s(size, in, out, workspace);
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
    const status = e.%(name)s(size, ins, outs, workspace);
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
                 f"--export={name}_workspace", f"{name}.o", "-o", "k.wasm"], folder)
            and run(["node", "main.js"], folder))


def has_avx512():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return " avx512f " in file.read()


TARGETS = {
    "x86-64": (["--cpu", "x86-64"], native, ["cc"]),
    "x86-64-v4": (["--cpu", "x86-64-v4"], native, ["cc"]),
    "aarch64": (["--target", "aarch64-linux-gnu", "--cpu", "generic"], aarch64,
                ["aarch64-linux-gnu-gcc", "qemu-aarch64"]),
    "wasm32": (["--target", "wasm32-unknown-unknown", "--cpu", "generic"], wasm, ["node"]),
}


def main():
    programs = Programs()
    here = programs.run(PROGRAM)
    program = os.path.join(programs.folder, "program.pdn")
    for target, (options, execute, needs) in TARGETS.items():
        missing = [tool for tool in needs if not shutil.which(tool)]
        if target == "wasm32" and not (shutil.which("wasm-ld-19") or shutil.which("wasm-ld")):
            missing.append("wasm-ld-19")
        if target == "x86-64-v4" and not has_avx512():
            missing.append("AVX-512")
        for name in ("denoise", "waves"):
            folder = os.path.join(programs.folder, f"{target}-{name}")
            os.mkdir(folder)
            built = run([PDN, "build", program, name, "-o", folder, "--emit", "obj,header"] + options,
                        programs.folder)
            programs.checked += 1
            if not built:
                programs.wrong += 1
                continue
            if missing:
                programs.skip(f"{name} for {target}: built, not run: no {', '.join(missing)}")
                continue
            words = {"name": name, "height": HEIGHT, "width": WIDTH}
            for file, text in (("main.c", MAIN), ("main.js", NODE)):
                with open(os.path.join(folder, file), "w", encoding="utf-8") as to:
                    to.write(text % words)
            load(here, "f.npy").tofile(os.path.join(folder, "f.bin"))
            if not execute(folder, name):
                programs.wrong += 1
                continue
            found = np.fromfile(os.path.join(folder, "v.bin"), dtype=np.float32).reshape(HEIGHT, WIDTH)
            programs.compare(f"{target}, {name}", found, load(here, f"{name}.npy"), 2e-6)
    programs.end()


if sys.byteorder != "little":
    print("for little-endian machines")
    sys.exit(77)
main()
