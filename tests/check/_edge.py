"""Calls a kernel of one field with pages that cannot be read directly before the field: LIBRARY NAME ROWS COLUMNS FINER."""
import ctypes
import mmap
import sys

library, name, rows, columns, finer = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
PAGE = mmap.PAGESIZE
kernel = ctypes.CDLL(library)
size = (ctypes.c_int64 * 2)(rows, columns)
cells = rows * columns
room = mmap.mmap(-1, 2 * PAGE + 8 * cells)
start = ctypes.addressof(ctypes.c_char.from_buffer(room))
assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(start), ctypes.c_size_t(PAGE), 0) == 0
size_of = getattr(kernel, name + "_workspace")
size_of.restype = ctypes.c_size_t
workspace = ctypes.create_string_buffer(size_of(size) + 64)
out = (ctypes.c_double * (cells * finer))()
status = getattr(kernel, name)(size, (ctypes.c_void_p * 1)(start + PAGE), (ctypes.c_void_p * 1)(ctypes.addressof(out)),
                               ctypes.c_void_p((ctypes.addressof(workspace) + 63) // 64 * 64))
sys.exit(status)
