#!/bin/bash
# The compiler and the runtime have no mutable global state: nothing that their objects define can be written.
set -euo pipefail
if grep -q '^PDN_SANITIZE:[^=]*=.' "$PDN_BUILD/CMakeCache.txt"; then
    echo "sanitizers have state of their own"
    exit 77
fi
objects=$(find "$PDN_BUILD/compiler" "$PDN_BUILD/runtime" "$PDN_BUILD/CMakeFiles" -name '*.c.o')
[ "$(wc -w <<<"$objects")" -gt 100 ] || { echo "no objects in $PDN_BUILD"; exit 1; }
# .data.rel.ro is written by the loader alone
found=$(objdump -t $objects | awk '/file format/ { object = $1 }
    / O / && / \.(t?bss|t?data)(\.[^ \t]*)?[ \t]/ && !/\.data\.rel\.ro/ { print object, $NF }')
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi
