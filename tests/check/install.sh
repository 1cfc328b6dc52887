#!/bin/bash
# What `cmake --install` leaves: the command works from there, and a C program finds the runtime with
# CMake's find_package and with pkg-config.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -f "$PDN_BUILD/cmake_install.cmake" ]; then
    echo "no build folder $PDN_BUILD"
    exit 77
fi
if grep -q '^PDN_SANITIZE:[^=]*=.' "$PDN_BUILD/CMakeCache.txt"; then
    echo "a sanitized runtime does not link into plain programs"
    exit 77
fi
cmake --install "$PDN_BUILD" --prefix "$work/prefix" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/prefix/bin/pdn" --version
cat >"$work/smooth.pdn" <<'END'
experiment sums {
    grid G = box([0, 4], cells = [4])
    print "sum": sum(G.x)
}
END
[ "$("$work/prefix/bin/pdn" run "$work/smooth.pdn" --cache "$work/cache")" = "sum: 8" ]

cat >"$work/main.c" <<'END'
#include <pdn.h>

int main(void) {
    PdnArray array;
    const int64_t shape[] = {3, 5};
    if (pdn_array_new(&array, PDN_F32, 2, shape, NULL) != PDN_OK)
        return 1;
    pdn_random(PDN_F32, 1, 1, 1, array.data, 15);
    int wrong = pdn_array_count(&array) != 15 || !(((float *)array.data)[14] < 1);
    pdn_array_free(&array);
    return wrong;
}
END
cat >"$work/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer C)
find_package(pdn 0.1 REQUIRED)
add_executable(consumer main.c)
target_link_libraries(consumer PRIVATE pdn::runtime)
END
cmake -S "$work" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" 2>&1 &&
    cmake --build "$work/build" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/consumer"

pc=$(dirname "$(find "$work/prefix" -name pdn.pc)")
# shellcheck disable=SC2046
cc "$work/main.c" -o "$work/consumer" \
    $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs pdn)
"$work/consumer"
