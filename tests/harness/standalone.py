"""Standalone kernels: built by `pdn build`, linked into a C program that knows the header alone, run on
fields that the program saved, and compared with what the program saved, bit for bit."""
import ast
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


def options_of(words):
    """`NAME in=a.npy,b.npy,0.2 out=u.npy [rank=2] configuration…`"""
    name, ins, outs, rank, rest = words[0], [], [], 2, []
    for word in words[1:]:
        if word.startswith("in="):
            ins = word[3:].split(",")
        elif word.startswith("out="):
            outs = word[4:].split(",")
        elif word.startswith("rank="):
            rank = int(word[5:])
        else:
            rest.append(word)
    return name, ins, outs, rank, rest


def compare(words, path, saved, context):
    """What is wrong, or None. `saved` is the folder with the files that the program wrote."""
    name, ins, outs, rank, rest = options_of(words)
    folder = context.folder()
    if not any(word.startswith("--size") for word in rest):
        rest += ["--size", "x".join("?" * rank)]
    status, out, err = context.pdn(["build", path, name] + rest + ["-o", folder, "--emit", "obj,header"],
                                   os.path.dirname(path), limit=120)
    if status:
        return f"pdn build: exit status {status}\n{out}{err}"
    kind = npy(os.path.join(saved, outs[0]))[0]
    code, bytes_of, shape = {"<f4": "f", "<f8": "d"}[kind], {"<f4": 4, "<f8": 8}[kind], None
    reads = []
    for i, word in enumerate(ins):
        try:
            data = struct.pack("<" + code, float(word))
        except ValueError:
            _, shape, data = npy(os.path.join(saved, word))
        with open(os.path.join(folder, f"in{i}"), "wb") as file:
            file.write(data)
        reads.append(f'read_all("in{i}", {len(data)})')
    results = [npy(os.path.join(saved, word)) for word in outs]
    shape = shape or results[0][1]
    sizes = [len(data) for _, _, data in results]
    with open(os.path.join(folder, "main.c"), "w", encoding="utf-8") as file:
        file.write(MAIN % {
            "name": name, "type": "float" if bytes_of == 4 else "double",
            "size": ", ".join(str(n) for n in shape[-rank:]), "reads": ", ".join(reads),
            "outs": ", ".join(f"aligned_alloc(64, {(n + 63) // 64 * 64})" for n in sizes),
            "out_bytes": ", ".join(map(str, sizes))})
    status, out, err = context.command(
        ["cc", "-std=c11", "-Wall", "-Werror", "main.c", f"{name}.o", "-lm", "-o", "main"], folder)
    if status:
        return f"cc: exit status {status}\n{out}{err}"
    status, out, err = context.command(["./main"], folder)
    if status:
        return f"the kernel: exit status {status}\n{out}{err}"
    for i, (_, _, expected) in enumerate(results):
        with open(os.path.join(folder, f"out{i}"), "rb") as file:
            found = file.read()
        if found != expected:
            a = struct.unpack(f"<{len(expected) // bytes_of}{code}", expected)
            b = struct.unpack(f"<{len(found) // bytes_of}{code}", found)
            worst = max(abs(x - y) for x, y in zip(a, b))
            differing = sum(x != y for x, y in zip(a, b))
            return f"{outs[i]}: {differing} of {len(a)} values differ, by {worst:g} at most"
    return None
