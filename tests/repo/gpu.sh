#!/usr/bin/env bash
# ./gradus gpu with tools that only pretend: it builds, tests, measures and reports step by step, goes on where it stopped, and says
# what it could not do. gpu.sh SOURCE COMPILER
set -euo pipefail
source=$1 compiler=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "gpu.sh: $*"; cat "$work/log" 2>/dev/null; exit 1; }

# A repository of one file of each kind, and a machine of its own.
tree=$work/tree fake=$work/fake
mkdir -p "$tree"/{bench/gpu,bench/ladders,cpu,cuda,include,tests/cuda,tests/kernels,tests/ladders,tests/support} "$fake"/{bin,lib64} "$work/deps/eigen-3.4/Eigen" "$work/deps/catch2"
cp "$source/bench/gpu/run.sh" "$tree/bench/gpu/"
echo 'int host() { return 1; }' >"$tree/cpu/host.cpp"
echo 'int device() { return 2; }' >"$tree/cuda/device.cu"
echo 'int host(); int device(); int check_good() { return host() + device() == 3 ? 0 : 1; }' >"$tree/tests/cuda/good_test.cpp"
echo 'int check_other() { return 0; }' >"$tree/tests/cuda/other_test.cpp"
echo 'int step() { return 3; }' >"$tree/bench/ladders/step.cu"
echo 'int host(); int check_kernel() { return host() - 1; }' >"$tree/tests/kernels/kernel_test.cpp"
echo 'int step(); int check_step() { return step() - 3; }' >"$tree/tests/ladders/step_test.cpp"
cat >"$tree/tests/main.cpp" <<'CPP'
#include <cstdlib>
#include <cstring>
// Three programs: the first two functions are in one, the others in one each.
[[gnu::weak]] int check_good();
[[gnu::weak]] int check_other();
[[gnu::weak]] int check_kernel();
[[gnu::weak]] int check_step();
int main(int, char** v) {
  if (!std::strcmp(v[2], "[#step_test]")) return check_step();
  if (!std::strcmp(v[2], "[#kernel_test]")) return check_kernel();
  return std::strcmp(v[2], "[#good_test]") ? check_other() + (std::getenv("BREAK") != nullptr) : check_good();
}
CPP
cat >"$tree/bench/gpu/gpu_bench.cpp" <<'CPP'
#include <cstdio>
#include <cstring>
int main(int, char** v) {
  if (!std::strcmp(v[1], "--list")) return std::puts("add\nsum"), 0;
  std::printf("{\"case\": \"%s\", \"device\": \"cpu\", \"kernel\": \"\", \"ms\": 4, \"GB/s\": 1, \"GFLOP/s\": 2, \"share\": nan, \"error\": 0}\n", v[2]);
  std::printf("{\"case\": \"%s\", \"device\": \"cuda\", \"kernel\": \"packed\", \"ms\": 0.5, \"GB/s\": 8, \"GFLOP/s\": 9, \"share\": 0.9, \"error\": 1e-7}\n", v[2]);
}
CPP
echo 'import json; print(json.dumps({"case": "add", "device": "torch", "kernel": "2", "ms": 0.25}))' >"$tree/bench/gpu/torch_gpu.py"
touch "$work/deps/eigen-3.4/Eigen/Core" "$work/deps/catch2/catch.hpp"
for lib in cublas cublasLt cudart; do ar cr "$fake/lib64/lib$lib.a"; done

tool() { cat >"$fake/bin/$1"; chmod +x "$fake/bin/$1"; }
tool nvidia-smi <<'SH'
#!/bin/sh
case $1 in *name*) echo "NVIDIA Pretend 100" ;; *compute_cap*) echo 9.0 ;; *driver*) echo 550.1 ;; esac
SH
tool nvcc <<SH
#!/usr/bin/env bash
if [[ \$1 == --version ]]; then echo "Cuda compilation tools, release 12.4, V12.4.1"; exit; fi
[[ " \$* " == *" -arch=sm_90a "* ]] || { echo "no arch"; exit 1; }
for ((i = 1; i <= \$#; ++i)); do [[ \${!i} == -c ]] && { j=\$((i + 1)); in=\${!j}; }; [[ \${!i} == -o ]] && { j=\$((i + 1)); out=\${!j}; }; done
exec $compiler -x c++ -c "\$in" -o "\$out"
SH
tool compute-sanitizer <<'SH'
#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift $(( $# > 1 && 1 )); [[ $1 != --* && $1 != */test_* ]] && shift; done
exec "$@"
SH
tool pretend-python <<'SH'
#!/bin/sh
[ "$1" = -c ] || echo '{"case": "add", "device": "torch", "kernel": "2", "ms": 0.25}'
SH

gpu() {
  PATH=$fake/bin:$PATH CXX=$compiler GRADUS_NVCC=$fake/bin/nvcc GRADUS_SANITIZER=${sanitizer-$fake/bin/compute-sanitizer} GRADUS_DEPS_DIR=$work/deps \
    GRADUS_PYTHON=$fake/bin/pretend-python GRADUS_RESULTS_DIR=$work/results "$tree/bench/gpu/run.sh" "$@" >"$work/log" 2>&1
}
status=0
gpu --minutes 0 || status=$?
[[ $status -eq 3 ]] || fail "without time it should pause with 3, got $status"
grep -q "run ./gradus gpu again" "$work/log" || fail "it should say how to go on"
gpu || fail "the whole run failed"
report=$work/results/nvidia-pretend-100
[[ -s $report.json && -s $report.md ]] || fail "no report"
python=$(command -v python3 || true)
if [[ -n $python ]]; then "$python" -m json.tool "$report.json" >/dev/null || fail "the report is not JSON: $(cat "$report.json")"; fi
grep -qF '| add | Cuda packed | 0.5 | 8 | 9 | 0.9 | 1e-7 | 0.25 | 2.00 |' "$report.md" || fail "the table lacks a row: $(cat "$report.md")"
grep -qF '4 files passed, 0 failed' "$report.md" || fail "the tests are not counted: $(cat "$report.md")"
gpu --list && [[ $(grep -c '^done' "$work/log") -eq 8 ]] || fail "not all steps are done"
gpu && ! grep -q 'step ' "$work/log" || fail "a second run should have nothing to do"

# A test that fails ends in an error that names its log; a missing tool is reported, not an error.
status=0
BREAK=1 gpu --again run || status=$?
[[ $status -eq 1 ]] && grep -q 'other_test.log' "$work/log" || fail "a failing test should be an error that names the log"
sanitizer=/nowhere gpu --again run || fail "without compute-sanitizer the rest should run"
grep -q 'no compute-sanitizer' "$work/log" || fail "the missing tool should be named"
grep -q 'no compute-sanitizer' "$report.md" || fail "the report should name it"

# Without a driver it says so.
rm "$fake/bin/nvidia-smi"
status=0
PATH=$fake/bin:/usr/bin:/bin gpu --again probe || status=$?
if ! command -v nvidia-smi >/dev/null; then
  [[ $status -eq 1 ]] && grep -q 'nvidia-smi' "$work/log" || fail "without a driver it should say so"
fi
