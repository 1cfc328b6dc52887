"""Standalone kernels: built by `pdn build`, linked into a C program that knows the header alone, run on
fields that the program saved, and compared with what the program saved, bit for bit. Their derivatives: compared
with differences of their values."""
import ast
import json
import os
import struct

MAIN = """
#include "%(name)s.h"
#include <stdio.h>
#include <stdlib.h>

static void *read_all(const char *path, size_t bytes) {
    void *data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    FILE *file = fopen(path, "rb");
    if (!data || !file || fread(data, 1, bytes, file) != bytes)
        exit(3);
    fclose(file);
    return data;
}

int main(void) {
    const int64_t size[] = {%(size)s};
    const %(type)s *in[] = {%(reads)s};
    %(type)s *out[] = {%(outs)s};
    void *workspace = aligned_alloc(64, (%(name)s_workspace(size) + 127) / 64 * 64);
    int status = %(name)s(size, in, out, workspace);
    if (status)
        return status;
    const size_t bytes[] = {%(out_bytes)s};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        char path[32];
        snprintf(path, sizeof path, "out%%zu", i);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(out[i], 1, bytes[i], file) != bytes[i] || fclose(file))
            return 3;
    }
    return 0;
}
"""


# For every input: the derivative along a random direction and along the cotangent itself, by central differences.
# Every array ends in a guard; each cotangent is asked for alone, too, and must have the same bits.
VJP = """
#include "%(name)s.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef %(type)s real;
enum { INS = %(ins)d, OUTS = %(outs)d, GUARD = 64 };
static const size_t in_count[] = {%(in_counts)s}, out_count[] = {%(out_counts)s};
static const int64_t size[] = {%(size)s};
static real *in[INS], *in_bar[INS], *alone[INS], *out[OUTS], *minus[OUTS], *out_bar[OUTS];
static char *workspace;
static size_t workspace_bytes;
static unsigned state = 1;

static double draw(void) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) / 8388608.0 - 1;
}

static void *guarded(size_t bytes) {
    char *p = aligned_alloc(64, (bytes + GUARD + 63) / 64 * 64);
    if (!p)
        exit(3);
    memset(p, 0xa5, bytes + GUARD);
    return p;
}

static void check(const void *p, size_t bytes, const char *what) {
    for (int i = 0; i < GUARD; i++)
        if (((const unsigned char *)p)[bytes + i] != 0xa5) {
            printf("written beyond the end of %%s\\n", what);
            exit(4);
        }
}

static void value(real **to) {
    int status = %(name)s(size, (const real *const *)in, to, workspace);
    if (status)
        exit(status + 10);
}

static void derivative(real *const *to) {
    int status = %(name)s_vjp(size, (const real *const *)in, (const real *const *)out_bar, to, workspace);
    if (status)
        exit(status + 20);
    check(workspace, workspace_bytes, "the workspace");
    for (int i = 0; i < INS; i++)
        if (to[i])
            check(to[i], in_count[i] * sizeof(real), "a cotangent");
}

static int compare(int i, const real *v, const char *along) {
    double h = sizeof(real) == 8 ? 1e-6 : 4e-3, tolerance = sizeof(real) == 8 ? 1e-6 : 4e-3;
    double expected = 0, most = 0, found = 0;
    real *kept = guarded(in_count[i] * sizeof(real));
    memcpy(kept, in[i], in_count[i] * sizeof(real));
    for (size_t j = 0; j < in_count[i]; j++)
        in[i][j] = (real)(kept[j] + h * v[j]);
    value(out);
    for (size_t j = 0; j < in_count[i]; j++)
        in[i][j] = (real)(kept[j] - h * v[j]);
    value(minus);
    memcpy(in[i], kept, in_count[i] * sizeof(real));
    for (int o = 0; o < OUTS; o++)
        for (size_t j = 0; j < out_count[o]; j++) {
            double term = out_bar[o][j] * ((double)out[o][j] - minus[o][j]) / (2 * h);
            expected += term;
            most += fabs(term);
        }
    for (size_t j = 0; j < in_count[i]; j++)
        found += (double)in_bar[i][j] * v[j];
    free(kept);
    if (fabs(found - expected) <= tolerance * (most + 1e-3))
        return 0;
    printf("in[%%d], %%s: the derivative is %%.9g, differences give %%.9g\\n", i, along, found, expected);
    return 1;
}

int main(void) {
    int wrong = 0;
    for (int i = 0; i < INS; i++) {
        char path[32];
        in[i] = guarded(in_count[i] * sizeof(real));
        in_bar[i] = guarded(in_count[i] * sizeof(real));
        snprintf(path, sizeof path, "in%%d", i);
        FILE *file = fopen(path, "rb");
        if (!file || fread(in[i], sizeof(real), in_count[i], file) != in_count[i])
            return 3;
        fclose(file);
    }
    for (int o = 0; o < OUTS; o++) {
        out[o] = guarded(out_count[o] * sizeof(real));
        minus[o] = guarded(out_count[o] * sizeof(real));
        out_bar[o] = guarded(out_count[o] * sizeof(real));
        for (size_t j = 0; j < out_count[o]; j++)
            out_bar[o][j] = (real)draw();
    }
    workspace_bytes = %(name)s_workspace(size);
    workspace = guarded(workspace_bytes);
    derivative(in_bar);
    for (int i = 0; i < INS; i++) {
        alone[i] = guarded(in_count[i] * sizeof(real));
        derivative(alone);
        if (memcmp(alone[i], in_bar[i], in_count[i] * sizeof(real)))
            wrong = printf("in[%%d]: alone it is another\\n", i);
        alone[i] = NULL;
    }
    for (int i = 0; i < INS; i++) {
        real *v = guarded(in_count[i] * sizeof(real)), largest = 0;
        for (size_t j = 0; j < in_count[i]; j++) {
            v[j] = (real)draw();
            largest = (real)fmax(largest, fabs(in_bar[i][j]));
        }
        wrong += compare(i, v, "along a random direction");
        for (size_t j = 0; j < in_count[i]; j++)
            v[j] = largest > 0 ? in_bar[i][j] / largest : 0;
        wrong += compare(i, v, "along itself");
        if (!(largest > 0) && !%(zero)d)
            wrong = printf("in[%%d]: the derivative is 0\\n", i);
        free(v);
    }
    if (%(name)s_vjp(size, (const real *const *)in, (const real *const *)out_bar, NULL, workspace) !=
        1)
        wrong = printf("a null list of cotangents is accepted\\n");
    return wrong ? 5 : 0;
}
"""
TYPES = {"F32": "f", "F64": "d"}


def npy(path):
    """(numpy type, shape, bytes) of a .npy file."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:6] != b"\x93NUMPY":
        raise ValueError(f"{path} is no npy file")
    size = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + size].decode())
    if header["fortran_order"]:
        raise ValueError(f"{path} is in Fortran order")
    return header["descr"], header["shape"], data[10 + size:]


def safetensors(path):
    """Name to (letter of struct, bytes)."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    return {name: (TYPES[t["dtype"]], data[8 + size:][slice(*t["data_offsets"])])
            for name, t in header.items() if name != "__metadata__"}


class Case:
    """`NAME in=a.npy,b.npy,0.2 out=u.npy [rank=2] [weights=net.safetensors] configuration…`; with parameters= in
    place of weights= they are inputs."""

    def __init__(self, words, saved):
        self.name, self.ins, self.outs, self.rank, self.rest = words[0], [], [], 2, []
        self.saved, self.parameters = saved, None
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key == "in":
                self.ins = value.split(",")
            elif key == "out":
                self.outs = value.split(",")
            elif key == "rank":
                self.rank = int(value)
            elif key == "weights":
                self.rest += ["--weights", os.path.join(saved, value)]
            elif key == "parameters":
                self.parameters = safetensors(os.path.join(saved, value))
            else:
                self.rest.append(word)
        if not any(word.startswith("--size") for word in self.rest):
            self.rest += ["--size", "x".join("?" * self.rank)]

    def file(self, name):
        return os.path.join(self.saved, name)

    def letter(self):
        """f or d: of the numbers of the kernel."""
        named = [word for word in self.outs + self.ins if word.endswith(".npy")]
        return {"<f4": "f", "<f8": "d"}[npy(self.file(named[0]))[0]]

    def build(self, path, folder, context, more):
        """Message, manifest."""
        command = ["build", path, self.name] + self.rest + more + ["-o", folder, "--emit", "obj,header"]
        status, out, err = context.pdn(command, os.path.dirname(path), limit=120)
        if status:
            return f"pdn build: exit status {status}\n{out}{err}", None
        with open(os.path.join(folder, f"{self.name}.json"), encoding="utf-8") as file:
            return None, json.load(file)

    def write_inputs(self, folder, manifest):
        """Files in0, in1, …; their bytes, and the shape of a field among them."""
        letter, shape, all_bytes = self.letter(), None, []
        for word in self.ins:
            try:
                all_bytes.append(struct.pack("<" + letter, float(word)))
            except ValueError:
                _, shape, data = npy(self.file(word))
                all_bytes.append(data)
        for parameter in manifest["parameters"]:
            if parameter["input"] is None:
                continue
            if parameter["input"] != len(all_bytes):
                raise ValueError(f"{parameter['name']} is not input {len(all_bytes)}")
            kind, data = self.parameters[parameter["name"]]
            if kind != letter:
                data = struct.pack(f"<{len(data) // 4}{letter}", *struct.unpack(f"<{len(data) // 4}f", data))
            all_bytes.append(data)
        for i, data in enumerate(all_bytes):
            with open(os.path.join(folder, f"in{i}"), "wb") as file:
                file.write(data)
        return [len(data) for data in all_bytes], shape


def run_program(name, text, folder, context):
    """What is wrong, or None."""
    with open(os.path.join(folder, "main.c"), "w", encoding="utf-8") as file:
        file.write(text)
    status, out, err = context.command(
        ["cc", "-std=c11", "-Wall", "-Werror", "main.c", f"{name}.o", "-lm", "-o", "main"], folder)
    if status:
        return f"cc: exit status {status}\n{out}{err}"
    status, out, err = context.command(["./main"], folder)
    return f"the kernel: exit status {status}\n{out}{err}" if status else None


def compare(words, path, saved, context):
    """What is wrong, or None. `saved` is the folder with the files that the program wrote."""
    case, folder = Case(words, saved), context.folder()
    wrong, manifest = case.build(path, folder, context, [])
    if wrong:
        return wrong
    code = case.letter()
    bytes_of = 4 if code == "f" else 8
    sizes, shape = case.write_inputs(folder, manifest)
    results = [npy(case.file(word)) for word in case.outs]
    shape = shape or results[0][1]
    out_sizes = [len(data) for _, _, data in results]
    wrong = run_program(case.name, MAIN % {
        "name": case.name, "type": "float" if code == "f" else "double",
        "size": ", ".join(str(n) for n in shape[-case.rank:]),
        "reads": ", ".join(f'read_all("in{i}", {n})' for i, n in enumerate(sizes)),
        "outs": ", ".join(f"aligned_alloc(64, {(n + 63) // 64 * 64})" for n in out_sizes),
        "out_bytes": ", ".join(map(str, out_sizes))}, folder, context)
    if wrong:
        return wrong
    for i, (_, _, expected) in enumerate(results):
        with open(os.path.join(folder, f"out{i}"), "rb") as file:
            found = file.read()
        if found != expected:
            a = struct.unpack(f"<{len(expected) // bytes_of}{code}", expected)
            b = struct.unpack(f"<{len(found) // bytes_of}{code}", found)
            worst = max(abs(x - y) for x, y in zip(a, b))
            differing = sum(x != y for x, y in zip(a, b))
            return f"{case.outs[i]}: {differing} of {len(a)} values differ, by {worst:g} at most"
    return None


def derivative(words, path, saved, context):
    """The same words, but for out=: NAME_vjp against differences of NAME. `zero` among them: derivatives may be 0."""
    case, folder = Case([word for word in words if word != "zero"], saved), context.folder()
    wrong, manifest = case.build(path, folder, context, ["--gradient"])
    if wrong:
        return wrong
    bytes_of = 4 if case.letter() == "f" else 8
    sizes, shape = case.write_inputs(folder, manifest)
    cells = 1
    for n in shape[-case.rank:]:
        cells *= n
    outs = [o["channels"] * cells if o["kind"] == "field" else 1 for o in manifest["outputs"]]
    return run_program(case.name, VJP % {
        "name": case.name, "type": "float" if bytes_of == 4 else "double",
        "ins": len(sizes), "outs": len(outs),
        "in_counts": ", ".join(str(n // bytes_of) for n in sizes), "out_counts": ", ".join(map(str, outs)),
        "size": ", ".join(str(n) for n in shape[-case.rank:]),
        "zero": int("zero" in words)}, folder, context)
