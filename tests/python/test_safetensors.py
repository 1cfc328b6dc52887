#!/usr/bin/python3
"""safetensors: what the runtime writes is read by tests/check/_safetensors.py, which knows the specification and nothing
of the project, and what NumPy writes is read by the runtime; files that the specification forbids are refused.

usage: test_safetensors.py [PATH_OF_CHECKPOINTS]     (tests/tools/checkpoints.c, as built)
Without an argument: $PDN_BUILD/tests/checkpoints. Exit status 0: passed, 1: failed, 77: it is not there.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: python3-numpy is not installed")
    sys.exit(77)

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests", "check"))
sys.dont_write_bytecode = True
import _safetensors as st  # noqa: E402

passed = failed = 0
NAMES = ["K", "layer.0.weight", "λ", "a b", "", "quote\"back\\slash", "tab\tline\n\x01", "\U0001f600", "/", "__meta__"]


def check(ok, what, detail=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        if failed <= 20:
            print("FAILED", what, detail)


class Tool:
    """One process that copies many files; a crash is noticed by its silence."""

    def __init__(self, path):
        self.process = subprocess.Popen([path, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def copy(self, source, target):
        self.process.stdin.write(f"{source}\t{target}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            print(f"FAILED the tool died of {self.process.wait()}, file {source}")
            sys.exit(1)
        return answer.strip()


def bytes_of(arrays, metadata, order, padding, kinds):
    """A file of arrays by name; `kinds` are the format's names of their types."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    places = {}
    for name in order:
        begin = len(data)
        data += arrays[name].tobytes()
        places[name] = [begin, len(data)]
    for name in sorted(places, key=lambda n: random.random()):
        header[name] = {"dtype": kinds[name], "shape": list(arrays[name].shape), "data_offsets": places[name]}
    return st.dump(header, data, padding)


def random_array(kind):
    shape = [random.choice([0, 1, 2, 3, 5]) if random.random() < 0.2 else random.randint(1, 5)
             for _ in range(random.choice([0, 1, 1, 2, 2, 3, 4, 8]))]
    count = int(np.prod(shape)) if shape else 1
    raw = np.random.randint(0, 256, count * np.dtype(st.TYPES[kind]).itemsize, dtype=np.uint8)
    if kind == "BOOL":
        raw &= 1
    return raw.view(st.TYPES[kind]).reshape(shape)


def number(array, kind):
    """What the numbers are, in the type that the runtime promises."""
    if kind == "BF16":
        array = st.bfloats(array)
    wide = kind in ("F64", "I64", "U64", "I32", "U32")
    with np.errstate(invalid="ignore"):
        return array.astype("<f8" if wide else "<f4")


def same(a, b, exact):
    """Equal in type, shape and bits; NaNs that were converted need only be NaNs."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tobytes() == b.tobytes() if exact else np.array_equal(a, b, equal_nan=True)


def test_round_trips(tool):
    for i in range(300):
        names = random.sample(NAMES, random.randint(0, 6))
        kinds = {name: random.choice(list(st.TYPES)) for name in names}
        arrays = {name: random_array(kinds[name]) for name in names}
        metadata = {n: random.choice(NAMES) for n in random.sample(NAMES, 3)} if random.random() < 0.5 else None
        with open("in", "wb") as file:
            file.write(bytes_of(arrays, metadata, names, random.randint(0, 9), kinds))
        answer = tool.copy("in", "out")
        check(answer == f"ok {len(names)}", f"file {i} is read", answer)
        found, said = st.load("out")
        check(said == (metadata or {}), f"metadata of file {i}", (said, metadata))
        check(sorted(found) == sorted(names), f"names of file {i}", sorted(found))
        for name in names:
            check(name in found and same(found[name], number(arrays[name], kinds[name]), kinds[name] in ("F32", "F64")),
                  f"'{name}' of file {i}, {kinds[name]} {arrays[name].shape}")
        with open("out", "rb") as file:
            data = file.read()
        length = int.from_bytes(data[:8], "little")
        order = [k for k in json.loads(data[8:8 + length]) if k != "__metadata__"]
        wanted = sorted(found, key=lambda n: (-found[n].dtype.itemsize, n.encode()))
        check(length % 8 == 0 and order == wanted, f"order of file {i}", order)
        # what was written is written again as the same bytes
        tool.copy("out", "again")
        with open("again", "rb") as file:
            check(file.read() == data, f"file {i} is stable")


def test_conversions(tool):
    """Every half and bfloat16, against NumPy."""
    every = np.arange(65536, dtype="<u2")
    for kind in ("F16", "BF16", "U16", "I16"):
        array = every.view(st.TYPES[kind])
        with open("in", "wb") as file:
            file.write(bytes_of({"x": array}, None, ["x"], 0, {"x": kind}))
        tool.copy("in", "out")
        check(same(st.load("out")[0]["x"], number(array, kind), False), f"every {kind}")


def entry(begin, end, shape=None, kind="F32"):
    return {"dtype": kind, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def test_refused(tool):
    """What the plain reader refuses, and what is longer than it is."""
    nine = bytes(range(9))
    wrong = {
        "overlap": st.dump({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
        "hole": st.dump({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)),
        "hole in front": st.dump({"a": entry(4, 8)}, bytes(8)),
        "rest": st.dump({"a": entry(0, 4)}, bytes(5)),
        "cut off": st.dump({"a": entry(0, 8)}, bytes(7)),
        "shape": st.dump({"a": entry(0, 8, [3])}, bytes(8)),
        "product overflows": st.dump({"a": entry(0, 8, [2 ** 62, 2 ** 62])}, bytes(8)),
        "product overflows to its size": st.dump({"a": entry(0, 8, [2 ** 62 + 2])}, bytes(8)),
        "twice": st.dump(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                         b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8)),
        "metadata": st.dump({"__metadata__": {"a": 1}}, b""),
        "metadata twice": st.dump(b'{"__metadata__":{"a":"","a":""}}', b""),
        "not UTF-8": st.dump(b'{"\xc3":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        "no brace": st.dump(b' {}', b""),
        "no JSON": st.dump(b'{"a"}', b""),
        "short": nine[:7],
        "no header": bytes(8),
        "header too long": (10 ** 8 + 1).to_bytes(8, "little") + b"{}",
        "header beyond": (3).to_bytes(8, "little") + b"{}",
        "huge header": b"\xff" * 8 + b"{}",
        "unknown type": st.dump({"a": entry(0, 4, [4], "F8_E5M2")}, bytes(4)),
    }
    for what, data in wrong.items():
        with open("in", "wb") as file:
            file.write(data)
        try:
            st.load("in")
            check(False, "the plain reader accepts", what)
        except (st.Broken, ValueError, KeyError):
            pass
        answer = tool.copy("in", "refused")
        check(" file is broken" in answer or " beyond the limits" in answer, what, answer)
        check(not os.path.exists("refused"), f"{what}: nothing is written")


def test_big(tool):
    """More than one buffer of everything, and a header of a megabyte."""
    names = [f"layer.{i}.weight" for i in range(12000)]
    arrays = {n: np.full((3,), i, "<f4") for i, n in enumerate(names)}
    arrays["big"] = np.arange(1 << 20, dtype="<f8")
    kinds = {n: "F32" for n in names} | {"big": "F64"}
    with open("in", "wb") as file:
        file.write(bytes_of(arrays, None, list(arrays), 0, kinds))
    answer = tool.copy("in", "out")
    found, _ = st.load("out")
    check(answer == "ok 12001" and all(np.array_equal(found[n], arrays[n]) for n in arrays), "many arrays", answer)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ.get("PDN_BUILD", "."), "tests", "checkpoints")
    if not os.path.exists(path):
        print(f"skipped: {path} is not built")
        return 77
    random.seed(1)
    np.random.seed(1)
    path = os.path.abspath(path)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        tool = Tool(path)
        for test in (test_round_trips, test_conversions, test_refused, test_big):
            test(tool)
        os.chdir("/")
    tool.process.stdin.close()
    check(tool.process.wait() == 0, "the tool's end")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
