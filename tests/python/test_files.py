#!/usr/bin/python3
"""The runtime's file formats against NumPy, PIL and VTK, and against damaged files.

usage: test_files.py PATH_OF_CONVERT      (tests/tools/convert.c, as built)
Without an argument: $PDN_BUILD/tests/convert. Exit status 0: passed, 1: failed, 77: convert is not there.
"""
import io
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

try:
    import numpy as np
except ImportError:
    print("skipped: python3-numpy is not installed")
    sys.exit(77)
try:
    from PIL import Image
except ImportError:
    Image = None
try:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader
except ImportError:
    vtkXMLImageDataReader = None

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
passed = failed = skipped = 0


def check(ok, what, detail=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        if failed <= 20:
            print("FAILED", what, detail)


def skip(what):
    global skipped
    skipped += 1
    print("skipped:", what)


class Tool:
    """One process that converts many files; a crash is noticed by its silence."""

    def __init__(self, path):
        self.path = path
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.path, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, errors="replace")

    def __call__(self, *words):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            answer = f"crash {self.process.wait()}"
            self.start()
        return answer


def shape_text(shape):
    return "ok [" + ", ".join(map(str, shape)) + "]"


# ---- pictures that PIL does not write ------------------------------------------------


def png_bytes(samples, depth, colour, palette=None, interlaced=False, transparency=None, chunks=b""):
    """samples: [h, w, channels] as they are stored."""
    def pack(block):
        h, w, c = block.shape
        rows = []
        for y in range(h):
            values = block[y].reshape(-1)
            if depth == 16:
                raw = values.astype(">u2").tobytes()
            elif depth == 8:
                raw = values.astype("u1").tobytes()
            else:
                bits = ((values[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype("u1")
                raw = np.packbits(bits.reshape(-1)).tobytes()
            rows.append(b"\0" + raw)
        return b"".join(rows)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w, _ = samples.shape
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        blocks = [samples[y::dy, x::dx] for y, x, dy, dx in passes]
        raw = b"".join(pack(b) for b in blocks if b.size)
    else:
        raw = pack(samples)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced)))
    data += chunks
    if palette is not None:
        data += chunk(b"PLTE", palette.astype("u1").tobytes())
    if transparency is not None:
        data += chunk(b"tRNS", transparency)
    return data + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def read_back(tool, name, data, *words):
    """Writes bytes, converts them to .npy, gives (answer, array)."""
    with open(name, "wb") as f:
        f.write(data)
    answer = tool(name, "back.npy", *words)
    if answer.startswith("ok"):
        check(tool(name) == answer, f"the shape of {name} by its header alone", answer)
    return answer, np.load("back.npy") if answer.startswith("ok") else None


def test_png(tool):
    rng = np.random.default_rng(1)
    for interlaced in (False, True):
        for h, w in ((1, 1), (3, 5), (9, 17), (1, 40), (33, 2)):
            for depth in (1, 2, 4, 8, 16):
                most = 2**depth - 1
                s = rng.integers(0, most + 1, (h, w, 1))
                answer, a = read_back(tool, "t.png", png_bytes(s, depth, 0, interlaced=interlaced))
                check(answer == shape_text((h, w)) and np.array_equal(a, (s[..., 0] / most).astype("f4")),
                      f"grey png {h}x{w} {depth} bits {interlaced}", answer)
                if depth <= 8:
                    palette = rng.integers(0, 256, (most + 1, 3))
                    answer, a = read_back(tool, "t.png", png_bytes(s, depth, 3, palette, interlaced))
                    truth = (palette[s[..., 0]] / 255).astype("f4").transpose(2, 0, 1)
                    check(np.array_equal(a, truth), f"palette png {h}x{w} {depth} bits {interlaced}", answer)
                if depth >= 8:
                    s = rng.integers(0, most + 1, (h, w, 3))
                    answer, a = read_back(tool, "t.png", png_bytes(s, depth, 2, interlaced=interlaced))
                    check(np.array_equal(a, (s / most).astype("f4").transpose(2, 0, 1)),
                          f"colour png {h}x{w} {depth} bits {interlaced}", answer)
                    s[0, 0] = s[0, 0] // 2
                    for colour, channels in ((4, 1), (6, 3)):
                        alpha = np.full((h, w, 1), most)
                        both = np.concatenate([s[..., :channels], alpha], 2)
                        answer, a = read_back(tool, "t.png", png_bytes(both, depth, colour, interlaced=interlaced))
                        truth = (s[..., :channels] / most).astype("f4")
                        truth = truth[..., 0] if channels == 1 else truth.transpose(2, 0, 1)
                        check(np.array_equal(a, truth), f"opaque png {colour} {depth}", answer)
                        both[-1, -1, -1] = most - 1
                        answer, _ = read_back(tool, "t.png", png_bytes(both, depth, colour, interlaced=interlaced))
                        check(f"transparent pixels, the first at x = {w - 1}, y = {h - 1}" in answer,
                              f"transparent png {colour} {depth}", answer)
    # tRNS: what it makes transparent must not occur
    s = np.array([[[0], [1]]])
    palette = np.array([[10, 20, 30], [40, 50, 60]])
    for table, opaque in ((b"\xff\xff", True), (b"\xff\x80", False), (b"\xff", True)):
        answer, _ = read_back(tool, "t.png", png_bytes(s, 8, 3, palette, transparency=table))
        check(answer.startswith("ok") == opaque, "palette with tRNS", answer)
    for grey, opaque in ((7, True), (1, False)):
        answer, _ = read_back(tool, "t.png", png_bytes(s, 8, 0, transparency=struct.pack(">H", grey)))
        check(answer.startswith("ok") == opaque, "grey with tRNS", answer)
    # gamma is a statement about display, not about samples
    gamma = struct.pack(">I", 4) + b"gAMA" + struct.pack(">I", 100000)
    gamma += struct.pack(">I", zlib.crc32(gamma[4:]))
    answer, a = read_back(tool, "t.png", png_bytes(np.array([[[0], [128]]]), 8, 0, chunks=gamma))
    check(np.array_equal(a, np.array([[0, 128 / 255]], "f4")), "png with gamma", answer)
    # sizes that the content cannot have
    for w, h in ((2**31 - 1, 2**31 - 1), (100000, 100000), (0, 1), (2**32 - 1, 1)):
        data = bytearray(png_bytes(s, 8, 0))
        data[16:24] = struct.pack(">II", w, h)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        answer, _ = read_back(tool, "t.png", data)
        check(answer.startswith("error 5"), f"png that says {w}x{h}", answer)


def test_pictures_written(tool):
    rng = np.random.default_rng(2)
    for shape in ((7, 5), (3, 7, 5)):
        a = rng.random(shape, dtype="f4") * 1.2 - 0.1
        np.save("a.npy", a)
        hwc = a if a.ndim == 2 else a.transpose(1, 2, 0)
        for depth in (8, 16):
            truth = np.floor(np.clip(hwc.astype("f8"), 0, 1) * (2**depth - 1) + 0.5).astype("u2")
            for name in ("a.png", "a.pgm" if a.ndim == 2 else "a.ppm"):
                answer = tool("a.npy", name, f"depth={depth}")
                check(answer == shape_text(shape), f"{name} {depth} bits", answer)
                answer = tool(name, "b.npy")
                b = np.load("b.npy")
                b = b if b.ndim == 2 else b.transpose(1, 2, 0)
                check(np.array_equal(b, (truth / (2**depth - 1)).astype("f4")), f"back from {name} {depth}", answer)
                if Image and not (depth == 16 and a.ndim == 3):  # PIL has no 16 bits of colour
                    with Image.open(name) as image:
                        check(np.array_equal(np.array(image), truth), f"PIL reads {name} {depth} {shape}")
    if not Image:
        return skip("PIL is not installed")
    i = rng.integers(0, 256, (9, 4, 3)).astype("u1")
    for name, image in (("p.png", Image.fromarray(i)), ("p.ppm", Image.fromarray(i))):
        image.save(name)
        answer = tool(name, "b.npy")
        check(np.array_equal(np.load("b.npy"), (i / 255).astype("f4").transpose(2, 0, 1)), f"PIL's {name}", answer)


# ---- arrays ---------------------------------------------------------------------------


def test_npy(tool):
    rng = np.random.default_rng(3)
    types = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]
    for name in types:
        for order in "<>":
            for fortran in (False, True):
                for shape in ((), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 2, 2), (70, 90)):
                    a = (rng.standard_normal(shape) * 50).astype(name)
                    if name[0] in "iu":
                        info = np.iinfo(name)
                        a = rng.integers(info.min, info.max, shape, dtype=name, endpoint=True)
                    a = np.array(a, dtype=order + name, order="F" if fortran else "C")
                    np.save("a.npy", a)
                    for to in ("f4", "f8"):
                        axes = ["frames=1", "items=1"] if len(shape) > 4 else ["items=1"] if len(shape) > 3 else []
                        answer = tool("a.npy", "b.npy", to.replace("4", "32").replace("8", "64"), *axes)
                        b = np.load("b.npy")
                        check(answer == shape_text(shape) and b.dtype == to and np.array_equal(b, a.astype(to)),
                              f"npy {order}{name} {shape} fortran={fortran} to {to}", answer)
                check(tool("a.npy") == shape_text(a.shape), "shape alone")
    a = np.array([np.nan, np.inf, -np.inf, -0.0])
    np.save("a.npy", a)
    tool("a.npy", "b.npy")
    check(np.load("b.npy").tobytes() == a.astype("f4").tobytes(), "npy of nan and inf")
    for version in ((1, 0), (2, 0), (3, 0)):
        with open("a.npy", "wb") as f:
            np.lib.format.write_array(f, np.arange(6.0).reshape(2, 3), version)
        check(tool("a.npy", "b.npy") == "ok [2, 3]", f"npy version {version}")


def test_npz(tool):
    a, b = np.arange(6, dtype="f4").reshape(2, 3), np.arange(4.0)
    for save in (np.savez, np.savez_compressed):
        save("z.npz", u=a, v=b)
        check(tool("z.npz", "c.npy") == "ok [2, 3]" and np.array_equal(np.load("c.npy"), a), "npz, first")
        check(tool("z.npz:v", "c.npy") == "ok [4]" and np.array_equal(np.load("c.npy"), b), "npz, by name")
        check(tool("z.npz:v.npy") == "ok [4]", "npz, by the entry's whole name")
    large = np.zeros((1000, 1000), "f4")
    np.savez_compressed("z.npz", large)
    check(tool("z.npz", "c.npy") == "ok [1000, 1000]", "npz of zeros, packed well")
    np.save("a.npy", np.arange(2 * 3 * 4 * 5, dtype="f4").reshape(2, 3, 4, 5))
    truth = np.load("a.npy")
    check(tool("a.npy", "w.npz", "frames=1", "items=1", "names=u,v,w").startswith("ok"), "npz of a film of a list")
    with np.load("w.npz") as z:
        check(z.files == ["u", "v", "w"], "names in npz", z.files)
        check(all(np.array_equal(z[n], truth[:, i]) for i, n in enumerate("uvw")), "content of npz")
    check(zipfile.ZipFile("w.npz").testzip() is None, "sums in npz")
    tool("a.npy", "w.npz", "frames=1", "items=1")
    with np.load("w.npz") as z:
        check(z.files == ["arr_0", "arr_1", "arr_2"], "names in npz without names", z.files)
    # a bomb, a wrong sum, no arrays, another packing
    buffer = io.BytesIO()
    np.save(buffer, a)
    for method, ok in ((zipfile.ZIP_STORED, True), (zipfile.ZIP_DEFLATED, True), (zipfile.ZIP_BZIP2, False)):
        with zipfile.ZipFile("m.npz", "w", method) as z:
            z.writestr("u.npy", buffer.getvalue())
        check(tool("m.npz", "c.npy").startswith("ok") == ok, f"zip method {method}")
    with zipfile.ZipFile("m.npz", "w") as z:
        z.writestr("u.txt", b"hello")
    check("without NumPy arrays" in tool("m.npz", "c.npy"), "zip without arrays")
    header = b"\x93NUMPY\1\0v\0" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }".ljust(117) + b"\n"
    with zipfile.ZipFile("m.npz", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("u.npy", header + bytes(10_000_000))
    check("truncated" in tool("m.npz", "c.npy"), "npz that says 80 GB", tool("m.npz", "c.npy"))
    check(tool("m.npz").startswith("error"), "npz that says 80 GB, shape alone")


def test_layout(tool):
    a = np.arange(2 * 3 * 2 * 4 * 5, dtype="f8").reshape(2, 3, 2, 4, 5)
    np.save("a.npy", a)
    check(tool("a.npy", "b.npy", "f64", "frames=1", "items=1").startswith("ok"), "film of lists of channels")
    check(np.array_equal(np.load("b.npy"), a), "npy of everything")
    s = np.linspace(-1, 1, 7)
    np.save("s.npy", s)
    tool("s.npy", "s.csv", "f64", "spacing=0.5", "origin=2")
    table = np.loadtxt("s.csv", delimiter=",", skiprows=1)
    check(np.array_equal(table[:, 1], s) and np.allclose(table[:, 0], 2 + 0.5 * (np.arange(7) + 0.5)), "csv in 1D")
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2**32, 3000, dtype="u4").view("f4").reshape(30, 100)
    bits = np.where(np.isfinite(bits), bits, np.float32(0))
    np.save("f.npy", bits)
    tool("f.npy", "f.csv")
    check(np.array_equal(np.loadtxt("f.csv", delimiter=",", dtype="f4"), bits), "csv holds every f32")
    first = open("f.csv").read().replace("\n", ",").split(",")[:-1]
    longer = [t for t, v in zip(first, bits.reshape(-1))
              if len(t.lstrip("-")) > len(np.format_float_scientific(v, unique=True, trim="-").lstrip("-")) + 4]
    check(not longer, "csv numbers are short", longer[:3])
    wide = rng.integers(0, 2**63, 1000, dtype="u8").view("f8").reshape(10, 100)
    wide = np.where(np.isfinite(wide), wide, 0.0)
    np.save("d.npy", wide)
    tool("d.npy", "d.csv", "f64")
    check(np.array_equal(np.loadtxt("d.csv", delimiter=","), wide), "csv holds every f64")


def vtk_read(name):
    reader = vtkXMLImageDataReader()
    check(reader.CanReadFile(name), f"VTK can read {name}")
    reader.SetFileName(name)
    reader.Update()
    return reader.GetOutput()


def test_vti(tool):
    if not vtkXMLImageDataReader:
        return skip("VTK's Python modules (python3-vtk9) are not installed")
    rng = np.random.default_rng(5)
    for to in ("f32", "f64"):
        for rank, shape in ((1, (7,)), (2, (4, 6)), (3, (3, 4, 5))):
            a = rng.standard_normal(shape).astype("f8" if to == "f64" else "f4")
            np.save("a.npy", a)
            answer = tool("a.npy", "v.vti", to, f"rank={rank}", "spacing=0.25", "origin=-1")
            image = vtk_read("v.vti")
            values = vtk_to_numpy(image.GetCellData().GetScalars())
            check(np.array_equal(values, a.reshape(-1)), f"vti {shape} {to}", answer)
            cells = [max(d - 1, 1) for d in image.GetDimensions()]
            check(cells == list(reversed(shape)) + [1] * (3 - rank), "vti dimensions", cells)
            check(image.GetSpacing()[0] == 0.25 and image.GetOrigin()[0] == -1, "vti spacing and origin")
    a = rng.standard_normal((2, 3, 4, 6)).astype("f4")  # a list of two, three channels
    np.save("a.npy", a)
    check(tool("a.npy", "v.vti", "items=1", "names=u,a<b").startswith("ok"), "vti of a list")
    data = vtk_read("v.vti").GetCellData()
    for i, name in enumerate(("u", "a<b")):
        values = vtk_to_numpy(data.GetArray(name))
        check(np.array_equal(values, a[i].reshape(3, -1).T), f"channels of {name}")
    film = rng.standard_normal((3, 4, 6)).astype("f4")
    np.save("a.npy", film)
    check(tool("a.npy", "film.vti", "frames=1", "step=0.5").startswith("ok"), "vti of a film")
    for i in range(3):
        image = vtk_read(f"film_000{i}.vti")
        check(np.array_equal(vtk_to_numpy(image.GetCellData().GetScalars()), film[i].reshape(-1)), "frame")
        check(image.GetFieldData().GetArray("TimeValue").GetValue(0) == 0.5 * i, "time of a frame")
    check(open("film.pvd").read().count("<DataSet") == 3, "pvd")


# ---- damaged files --------------------------------------------------------------------


def small_files():
    rng = np.random.default_rng(6)
    grey, colour = rng.integers(0, 256, (5, 4, 1)), rng.integers(0, 65536, (5, 4, 3))
    files = {
        "grey.png": png_bytes(grey, 8, 0),
        "colour.png": png_bytes(colour, 16, 2, interlaced=True),
        "palette.png": png_bytes(grey % 4, 2, 3, rng.integers(0, 256, (4, 3))),
        "p5.pgm": b"P5\n# c\n4 5\n255\n" + grey.astype("u1").tobytes(),
        "p6.ppm": b"P6 4 5 65535\n" + colour.astype(">u2").tobytes(),
        "p2.pgm": b"P2\n2 2 9\n1 2\n3 4 ",
        "p3.ppm": b"P3\n1 2 9\n1 2 3\n3 4 5 ",
    }
    for name, save in (("a.npy", np.save), ("a.npz", np.savez), ("c.npz", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, rng.standard_normal((3, 4)).astype("f4"))
        files[name] = buffer.getvalue()
    return files


def test_truncated(tool):
    """Cut at every byte: always an error, never a crash (the last number of a text may lose digits)."""
    for name, data in small_files().items():
        with open(name, "wb") as f:
            f.write(data)
        check(tool(name, "o.npy", "f64").startswith("ok"), f"{name} whole", tool(name, "o.npy"))
        text = name.startswith(("p2", "p3"))
        wrong = []
        for n in range(len(data) - (1 if text else 0)):
            with open("cut_" + name, "wb") as f:
                f.write(data[:n])
            answer = tool("cut_" + name, "o.npy")
            if not answer.startswith("error 5"):
                wrong.append((n, answer))
        # a number's last digit gone is a shorter number
        check(len(wrong) <= (1 if text else 0), f"{name} truncated", wrong[:3])


def test_flipped(tool):
    """Bits and bytes changed: an error or some array, never a crash; where there are sums, no wrong values."""
    draw = random.Random(7)
    for name, data in small_files().items():
        answer = "ok"
        with open(name, "wb") as f:
            f.write(data)
        tool(name, "true.npy", "f64")
        truth = np.load("true.npy")
        summed = name.endswith((".png", ".npz"))
        flips = [[(i, 1 << b)] for i in range(len(data)) for b in (range(8) if len(data) < 120 else (draw.randrange(8),))]
        flips += [[(draw.randrange(len(data)), draw.randrange(1, 256)) for _ in range(draw.randrange(2, 6))]
                  for _ in range(300)]
        wrong = []
        for flip in flips:
            changed = bytearray(data)
            for i, mask in flip:
                changed[i] ^= mask
            with open("flip_" + name, "wb") as f:
                f.write(changed)
            answer = tool("flip_" + name, "o.npy", "f64")
            if answer.startswith("crash"):
                wrong.append((flip, answer))
            elif answer.startswith("ok") and summed and len(flip) == 1 and not np.array_equal(np.load("o.npy"), truth):
                wrong.append((flip, "other values"))
        check(not wrong, f"{name} with changed bits", wrong[:3])


def test_corpus(tool):
    """What the fuzzers found worth keeping: an answer for each, never a crash."""
    corpus = os.path.join(SOURCE, "tests", "fuzz", "corpus")
    for kind in ("png", "pnm", "npy", "npz"):
        names = sorted(os.listdir(os.path.join(corpus, kind)))
        answers = [tool(os.path.join(corpus, kind, name), "o.npy", "f64") for name in names]
        wrong = [(n, a) for n, a in zip(names, answers) if not a.startswith(("ok [", "error "))]
        check(names and not wrong, f"corpus of {kind}", wrong[:3])


def test_limits(tool):
    """In a process of its own: a file that may not grow leaves the old one."""
    rng = np.random.default_rng(8)
    np.save("a.npy", rng.random((200, 200), dtype="f4"))
    os.makedirs("small", exist_ok=True)
    for kind in ("png", "pgm", "npy", "npz", "vti", "csv"):
        path = f"small/u.{kind}"
        with open(path, "w") as f:
            f.write("old")
        done = subprocess.run([tool.path, "a.npy", path, "fsize=20000"], capture_output=True, text=True)
        check(done.returncode == 1 and "File too large" in done.stdout, f"full disk, {kind}", done.stdout)
        check(open(path).read() == "old" and os.listdir("small") == [f"u.{kind}"], f"old {kind} stays")
        os.remove(path)


def test_memory(tool):
    """What does not fit the memory is refused, with what it needs."""
    def limited(*words):
        limit = 400 << 20
        return subprocess.run([tool.path, *words], capture_output=True, text=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))

    np.save("small.npy", np.zeros((4, 4), "f4"))
    if limited("small.npy", "o.npy").returncode != 0:
        return skip("the tool does not run in 400 MiB (a sanitizer's build)")
    np.save("large.npy", np.zeros((100, 1 << 20), "u1"))
    done = limited("large.npy", "o.npy")
    check(done.returncode == 1 and "large.npy: an array of 100 x 1048576 values needs 400.0 MiB of memory; "
          in done.stdout, "npy that does not fit", done.stdout)
    with open("large.png", "wb") as f:
        f.write(png_bytes(np.zeros((6000, 10000, 1), "u1"), 8, 0, interlaced=True))
    done = limited("large.png", "o.npy", "f64")
    check(done.returncode == 1 and "needs 457.8 MiB of memory" in done.stdout, "png that does not fit", done.stdout)
    done = limited("large.png", "o.npy", "f32")
    check(done.returncode in (0, 1) and ("ok" in done.stdout or "of memory" in done.stdout),
          "interlaced png that hardly fits", done.stdout)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ.get("PDN_BUILD", "."), "tests", "convert")
    if not os.path.exists(path):
        print(f"skipped: {path} is not built")
        return 77
    path = os.path.abspath(path)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        tool = Tool(path)
        for test in (test_png, test_pictures_written, test_npy, test_npz, test_layout, test_vti, test_truncated,
                     test_flipped, test_corpus, test_limits, test_memory):
            test(tool)
        os.chdir("/")
    tool.process.stdin.close()
    if tool.process.wait() != 0:
        check(False, "the tool's end", tool.process.returncode)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
