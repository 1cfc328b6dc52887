#!/bin/bash
# Builds and runs a fuzzer.
#
#   tests/fuzz/run.sh TARGET SECONDS     png, npy, …, or whatever has a fuzz_TARGET.c here
#   tests/fuzz/run.sh TARGET coverage    what the corpus (and what was found so far) reaches
#   tests/fuzz/run.sh TARGET distil      adds to corpus/TARGET what reaches more
#
# Finds and new inputs stay in out/fuzz/TARGET. Needs clang-19 and libclang-rt-19-dev; coverage llvm-19.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
[ $# = 2 ] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 2; }
target=$1 action=$2
work=out/fuzz/$target
[ -f "tests/fuzz/fuzz_$target.c" ] || { echo "there is no tests/fuzz/fuzz_$target.c" >&2; exit 2; }
mkdir -p "$work/corpus" "tests/fuzz/corpus/$target"

# The readers need the runtime alone, and not its threads; other targets are built by CMake.
case $target in png | pnm | npy | npz | safetensors | checkpoint) reader=1 ;; *) reader=0 ;; esac
build() { # PROGRAM FLAGS…
    local program=$1
    shift
    case $reader in
    1)
        clang-19 -std=gnu17 -g -O1 -fno-omit-frame-pointer -I. "$@" "tests/fuzz/fuzz_$target.c" \
            runtime/{array,checkpoint,csv,file,groups,memory,npy,npz,pending,picture,png,pnm,safetensors,status,vti}.c \
            -lpng -ljansson -lzip -lz -lm -o "$program"
        ;;
    0)
        cmake -S . -B "$work/build" -G Ninja -DCMAKE_C_COMPILER=clang-19 -DPDN_FUZZ=ON -DPDN_WERROR=OFF \
            -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="-O1 $*" >/dev/null
        ninja -C "$work/build" "fuzz_$target"
        cp "$(find "$work/build" -type f -perm -u+x -name "fuzz_$target")" "$program"
        ;;
    esac
}

sanitizers=-fsanitize=address,undefined
[ "$action" = coverage ] && sanitizers="-fprofile-instr-generate -fcoverage-mapping"
fuzzer=
[ $reader = 0 ] || fuzzer=-fsanitize=fuzzer
program=$work/fuzz_$target
[ "$action" = coverage ] && program=$program.coverage
# shellcheck disable=SC2086
build "$program" $sanitizers -fno-sanitize-recover=all $fuzzer

limits=(-timeout=10 -rss_limit_mb=2048 -max_len=4096)
[ "$target" != syntax ] || limits=(-timeout=10 -rss_limit_mb=2048)
[ ! -f "tests/fuzz/$target.dict" ] || limits+=("-dict=tests/fuzz/$target.dict")
corpora=("$work/corpus" "tests/fuzz/corpus/$target")
case $action in
coverage)
    LLVM_PROFILE_FILE=$work/profile "$program" "${limits[@]}" -runs=0 "${corpora[@]}" 2>"$work/coverage.log"
    llvm-profdata-19 merge -o "$work/profile.merged" "$work/profile"
    llvm-cov-19 report "$program" -instr-profile="$work/profile.merged" -ignore-filename-regex='tests/' \
        -show-branch-summary=false -show-region-summary=false
    ;;
distil) "$program" "${limits[@]}" -set_cover_merge=1 "tests/fuzz/corpus/$target" "$work/corpus" ;;
*)
    nice -n 19 "$program" "${limits[@]}" -max_total_time="$action" -print_final_stats=1 -artifact_prefix="$work/" \
        "${corpora[@]}"
    ;;
esac
