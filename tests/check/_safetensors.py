"""safetensors in plain Python and NumPy, from the format's specification
(https://github.com/huggingface/safetensors#format): nothing of the project is used."""
import json
import struct

import numpy as np

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
         "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}


class Broken(Exception):
    """The file is none that the specification allows."""


def once(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Broken("a key stands twice")
    return found


def bfloats(bits):
    """The numbers of these upper halves of f32."""
    return (bits.reshape(-1).astype("<u4") << 16).view("<f4").reshape(bits.shape)


def load(path):
    """The arrays by name, and the metadata; the header's keys keep their order."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 8:
        raise Broken("shorter than 8 bytes")
    length, = struct.unpack("<Q", data[:8])
    if length > 100_000_000 or 8 + length > len(data):
        raise Broken(f"a header of {length} bytes in a file of {len(data)}")
    if data[8:9] != b"{":
        raise Broken("the header does not begin with {")
    header = json.loads(data[8:8 + length].decode("utf-8"), object_pairs_hook=once)
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(x, str) for pair in metadata.items() for x in pair):
        raise Broken("metadata is a map from texts to texts")
    arrays, at = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        kind = np.dtype(TYPES[entry["dtype"]])
        count = int(np.prod(entry["shape"], dtype=object)) if entry["shape"] else 1
        if begin != at or end - begin != count * kind.itemsize:
            raise Broken(f"{name}: bytes {begin} to {end} after {at}, of {count} numbers")
        at = end
        array = np.frombuffer(data, kind, count, 8 + length + begin) if count else np.zeros(0, kind)
        arrays[name] = array.reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            arrays[name] = bfloats(arrays[name])
    if 8 + length + at != len(data):
        raise Broken(f"{len(data) - 8 - length - at} bytes too many")
    return arrays, metadata


def dump(header, data, padding=0):
    """The bytes of a file with this header, whatever is in it."""
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode("utf-8")
    text += b" " * padding
    return struct.pack("<Q", len(text)) + text + data
