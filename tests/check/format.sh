#!/bin/bash
# C sources are as `./dev format` leaves them.
set -euo pipefail
if ! command -v clang-format-14 >/dev/null; then
    echo "clang-format-14 is not installed"
    exit 77
fi
cd "$(dirname "$0")/../.."
faults=$(find compiler runtime tests bench -name '*.[ch]' -print0 |
    xargs -0 clang-format-14 --style=file --dry-run -Werror 2>&1 | grep 'error:' || true)
if [ -n "$faults" ]; then
    head -20 <<<"$faults"
    echo "./dev format mends it"
    exit 1
fi
