#!/usr/bin/python3
"""Programs that are compiled in parts: the object is the same byte for byte for every number of threads, just in time and
standalone, for this machine and another; nobody sees but the names of the kernel, so that two kernels go into one library;
and the code does what the interpreter does."""
import ctypes
import glob
import os
import struct
import subprocess
import sys

from _programs import PDN, Programs, np

BODY = """()(f) {
    param A = conv(1 -> 16, size = 3)
    param B = conv(16 -> 32, size = 3)
    param C = conv(32 -> 24, size = 5)
    param D = conv(24 -> 48, size = 3)
    param E = conv(48 -> 1, size = 1)
    return E(relu(D(tanh(C(relu(B(tanh(A(f)))))))))
}
"""
PROGRAM = f"""
precision f64
network first{BODY}
network second{BODY}
experiment e {{
    data set = signals(cells = 40, count = 2, batch = 2)
    let net = first()
    train net on x in set for 1 steps with sgd() {{
        minimise mean((net(x) - x)^2)
    }}
    save net to "net.safetensors"
}}
"""


def read(path):
    with open(path, "rb") as file:
        return file.read()


def sections(elf):
    """How many sections of code an object has."""
    offset, = struct.unpack_from("<Q", elf, 40)
    count, = struct.unpack_from("<H", elf, 60)
    flags = [struct.unpack_from("<Q", elf, offset + 64 * i + 8)[0] for i in range(count)]
    return sum(1 for f in flags if f & 4)


def visible(elf):
    """Names that an object defines for others."""
    offset, = struct.unpack_from("<Q", elf, 40)
    count, = struct.unpack_from("<H", elf, 60)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + 64 * i) for i in range(count)]
    names = set()
    for _, kind, _, _, at, size, link, _, _, _ in headers:
        for entry in range(at, at + size, 24) if kind == 2 else ():
            name, info, _, section = struct.unpack_from("<IBBH", elf, entry)
            start = headers[link][4] + name
            if info >> 4 and section:
                names.add(elf[start:elf.index(b"\0", start)].decode())
    return names


def run(*command):
    done = subprocess.run([PDN, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
        sys.exit(1)


def same(p, what, files):
    p.checked += 1
    if len({read(file) for file in files}) != 1:
        p.wrong += 1
        print(f"{what}: not the same for every number of threads")


def numbers(path):
    """Those of a safetensors file, one after the other."""
    raw = read(path)
    return np.frombuffer(raw[8 + struct.unpack_from("<Q", raw)[0]:], dtype="<f8")


def just_in_time(p, path, program):
    results = []
    for threads in "1", "2", "3":
        run("run", program, "--quiet", "--threads", threads, "--cache", path(f"cache{threads}"), "--out", path(f"run{threads}"))
        results.append(path(f"run{threads}", "net.safetensors"))
    names = sorted(os.path.basename(file) for file in glob.glob(path("cache1", "*")))
    for name in names:
        same(p, name, [path(f"cache{threads}", name) for threads in (1, 2, 3)])
    p.checked += 1
    if max(sections(read(path("cache1", name))[32:]) for name in names) < 2:
        p.wrong += 1
        print("the program is not compiled in parts")
    same(p, "result", results)
    run("run", program, "--quiet", "--interpret", "--out", path("interpreted"))
    p.compare("trained", numbers(results[0]), numbers(path("interpreted", "net.safetensors")), 1e-10)


def standalone(p, path, program, name, *target):
    files = []
    for threads in "1", "2", "3":
        out = path(f"{name}{len(target)}-{threads}")
        run("build", program, name, "--size", "?", "--gradient", "--threads", threads, "-o", out, *target)
        files.append(os.path.join(out, f"{name}.o"))
    same(p, f"{name}.o {' '.join(target)}", files)
    p.checked += 1
    elf = read(files[0])
    if sections(elf) < 2 or visible(elf) != {name, f"{name}_vjp", f"{name}_workspace"}:
        p.wrong += 1
        print(f"{name}.o {' '.join(target)}: {sections(elf)} sections of code, with the names {visible(elf)}")
    return files[0]


def value(library, name, arrays):
    size = (ctypes.c_int64 * 1)(len(arrays[0]))
    room_of = getattr(library, f"{name}_workspace")
    room_of.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(room_of(size) + 64)
    out = np.zeros_like(arrays[0])
    pointers = [(ctypes.c_void_p * len(some))(*(a.ctypes.data for a in some)) for some in (arrays, [out])]
    status = getattr(library, name)(size, *pointers, ctypes.c_void_p((ctypes.addressof(room) + 63) // 64 * 64))
    return out if status == 0 else None


def main():
    p = Programs()
    path = lambda *names: os.path.join(p.folder, *names)
    program = path("parts.pdn")
    with open(program, "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    just_in_time(p, path, program)
    objects = [standalone(p, path, program, name) for name in ("first", "second")]
    standalone(p, path, program, "first", "--target", "aarch64-linux-gnu")
    subprocess.run(["cc", "-shared", *objects, "-o", path("both.so"), "-lm"], check=True)
    library = ctypes.CDLL(path("both.so"))
    random = np.random.default_rng(3)
    shapes = [(50,), (16, 1, 3), (32, 16, 3), (24, 32, 5), (48, 24, 3), (1, 48, 1)]
    arrays = [random.normal(size=shape) / 8 for shape in shapes]
    p.compare("the two kernels", value(library, "second", arrays), value(library, "first", arrays), 0)
    p.end()


main()
