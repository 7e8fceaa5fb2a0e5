#!/usr/bin/env bash
# ./gradus gpu: on a machine with a GPU, builds for it, runs the device's tests, compute-sanitizer and the benchmarks, and writes
# bench/results/<gpu>.json and .md. It needs nvcc, a C++20 compiler and nothing from the network.
#
#   --minutes N     stop after N minutes (8); the next call goes on where this one stopped, and says so with exit code 3
#   --again STEP    forget STEP and those after it: probe library tests run sanitize bench peer report
#   --list          the steps and what is done
#
# Eigen, and Catch2 for the tests, are taken from the system or from the folder GRADUS_DEPS_DIR: Eigen/Core or eigen*/Eigen/Core,
# catch2/catch.hpp (version 2) or catch_amalgamated.{hpp,cpp} (version 3), anywhere below it.
# What could not be done is printed at the end and stands in the report.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
work=${GRADUS_GPU_DIR:-$root/build/gpu}
steps=(probe library tests run sanitize bench peer report)
minutes=8

say() { printf 'gradus gpu: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
# Something that could not be done: kept for the report, once.
missed() {
  say "NOT DONE: $*"
  grep -qxF "$*" "$work/missed" 2>/dev/null || echo "$*" >>"$work/missed"
}

done_file() { echo "$work/done/$1"; }
is_done() { [[ -e $(done_file "$1") ]]; }

while (($#)); do
  case $1 in
    --minutes) minutes=${2:?gradus gpu: --minutes needs a number}; shift 2 ;;
    --again)
      found=
      for s in "${steps[@]}"; do
        [[ $s == "${2-}" ]] && found=1
        [[ -z $found ]] || rm -rf "$(done_file "$s")" "$work/out/$s"
        [[ -z $found || $s != sanitize ]] || rm -rf "$work/out/racecheck"
        [[ -z $found || $s != peer ]] || rm -f "$work/out/torch.json"
      done
      [[ -n $found ]] || die "--again '${2-}': the steps are ${steps[*]}"
      rm -f "$work/missed"
      shift 2 ;;
    --list)
      for s in "${steps[@]}"; do is_done "$s" && echo "done  $s" || echo "      $s"; done
      exit 0 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown argument '$1'; see ./gradus gpu --help" ;;
  esac
done
mkdir -p "$work"/{done,objects,out,bin}
deadline=$(($(date +%s) + minutes * 60))
left() { echo $((deadline - $(date +%s))); }
out_of_time() { (($(left) <= 5)); }
# Ends this call: the step goes on in the next one.
pause() {
  say "paused in step '$1' after $minutes minutes; run ./gradus gpu again to go on"
  exit 3
}

jobs=$(nproc 2>/dev/null || echo 2)
nvcc=${GRADUS_NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
cxx=${CXX:-$(command -v g++ || command -v clang++ || true)}

# ---- what is here ----------------------------------------------------------------------------------------------

# The folder to put on the include path for a header: of the system (empty, and true) or under GRADUS_DEPS_DIR.
find_header() {
  local header=$1 path
  if [[ -n ${GRADUS_DEPS_DIR-} ]]; then
    path=$(find -L "$GRADUS_DEPS_DIR" -path "*/$header" -print 2>/dev/null | sort | head -n 1)
    if [[ -n $path ]]; then echo "${path%/"$header"}"; return 0; fi
  fi
  for path in /usr/include /usr/local/include /usr/include/eigen3 /usr/local/include/eigen3; do
    if [[ -e $path/$header ]]; then echo "$path"; return 0; fi
  done
  return 1
}

step_probe() {
  local gpu capability
  [[ -x $nvcc ]] || die "no nvcc on the PATH or in /usr/local/cuda/bin: install the CUDA toolkit (set GRADUS_NVCC to use another)"
  [[ -n $cxx ]] || die "no C++ compiler: install g++ 12 or later (set CXX to use another)"
  command -v nvidia-smi >/dev/null || die "no nvidia-smi: the NVIDIA driver is not installed, or this machine has no GPU"
  gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || true
  [[ -n $gpu ]] || die "the driver finds no GPU (nvidia-smi lists none)"
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d ' .')
  local arch=$capability
  [[ $arch == 90 ]] && arch=90a
  local eigen catch
  eigen=$(find_header Eigen/Core) || die "no Eigen: install libeigen3-dev or set GRADUS_DEPS_DIR to a folder with it"
  if catch=$(find_header catch_amalgamated.hpp); then catch="3 $catch"
  elif catch=$(find_header catch2/catch.hpp); then catch="2 $catch"
  else catch=; missed "tests: no Catch2; install catch2 or put catch2/catch.hpp into GRADUS_DEPS_DIR"; fi
  local name
  name=$(tr 'A-Z ' 'a-z-' <<<"$gpu" | tr -cd 'a-z0-9-')
  {
    printf 'gpu=%q\nname=%q\narch=%q\neigen=%q\ncatch=%q\n' "$gpu" "$name" "$arch" "$eigen" "$catch"
    printf 'driver=%q\n' "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)"
    printf 'toolkit=%q\n' "$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')"
    printf 'compiler=%q\n' "$("$cxx" --version | head -n 1)"
    printf 'commit=%q\n' "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)"
  } >"$work/machine"
  say "$gpu, sm_$arch, $("$nvcc" --version | sed -n 's/.*\(release [0-9.]*\),.*/CUDA \1/p'); $("$cxx" --version | head -n 1)"
}
machine() {
  # shellcheck disable=SC1091
  source "$work/machine"
}

# ---- building: one object a file, the newest header decides what is stale --------------------------------------

newest_header() { find "$root/include" "$root/cpu" "$root/cuda" "$root/tests/support" -name '*.hpp' -newer "$1" -print -quit | grep -q . && return 0; find "$root/cuda" -name '*.cuh' -newer "$1" -print -quit | grep -q .; }
export -f newest_header

# compile SOURCE OBJECT COMMAND...: runs the command unless the object is younger than everything it is made of.
compile() {
  local source=$1 object=$2
  shift 2
  if [[ -e $object && $object -nt $source ]] && ! newest_header "$object"; then return 0; fi
  (($(date +%s) < deadline - 5)) || return 0
  if timeout $((deadline - $(date +%s))) "$@" -c "$source" -o "$object.part" >"$object.log" 2>&1; then
    mv "$object.part" "$object"
  else
    local status=$?
    rm -f "$object.part"
    [[ $status -eq 124 ]] || { echo "$source" >>"$work/failed"; head -n 20 "$object.log" >&2; }
  fi
}
export -f compile
export root work deadline

# build_all STEP: reads lines "source<TAB>object<TAB>command"; returns when every object is there, or pauses.
build_all() {
  local list=$work/list.$1
  cat >"$list"
  : >"$work/failed"
  while IFS=$'\t' read -r source object command; do
    printf 'compile %q %q %s\0' "$source" "$object" "$command"
  done <"$list" | xargs -0 -P "$jobs" -I{} bash -c '{}'
  if [[ -s $work/failed ]]; then die "these did not compile:" "$(paste -sd' ' "$work/failed")"; fi
  while IFS=$'\t' read -r _ object _; do [[ -e $object ]] || pause "$1"; done <"$list"
}
object_of() { echo "$work/objects/$(tr '/.' '__' <<<"${1#"$root"/}").o"; }
includes() { echo "-I$root/include -I$root -isystem $eigen -DGRADUS_WITH_CUDA=1"; }
host_flags() { echo "-std=c++20 $(includes) -fopenmp -Wno-restrict"; }
device_flags() {
  echo "-std=c++20 -arch=sm_$arch --expt-relaxed-constexpr --extended-lambda -O3 -lineinfo -Xcompiler=-fopenmp,-Wno-unused-parameter $(includes)"
}

library_list() {
  local f
  for f in "$root"/cpu/*.cpp; do
    printf '%s\t%s\t%s\n' "$f" "$(object_of "$f")" "$cxx $(host_flags) -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast"
  done
  for f in "$root"/cuda/*.cu $( [[ $arch == 90a ]] && ls "$root"/cuda/hopper/*.cu 2>/dev/null); do
    printf '%s\t%s\t%s\n' "$f" "$(object_of "$f")" "$nvcc $(device_flags)"
  done
}
library_objects() { library_list | cut -f2; }
ladder_list() {
  local f
  for f in "$root"/bench/ladders/*.cu; do printf '%s\t%s\t%s\n' "$f" "$(object_of "$f")" "$nvcc $(device_flags)"; done
}
link_flags() {
  local lib
  lib=$(dirname "$(dirname "$nvcc")")
  echo "-fopenmp -L$lib/lib64 -L$lib/lib -L$lib/targets/x86_64-linux/lib -lcublas -lcublasLt -lcudart -Wl,-rpath,$lib/lib64 -ldl -lpthread"
}

step_library() {
  machine
  library_list | build_all library
}

test_flags() { echo "$(host_flags) -O1 -I$root/tests $(if [[ ${catch%% *} == 3 ]]; then echo "-I${catch#* } -I$work/catch"; else echo "-isystem ${catch#* }"; fi)"; }
step_tests() {
  machine
  [[ -n $catch ]] || return 0
  local shared=("$root/tests/main.cpp") f folder
  if [[ ${catch%% *} == 3 ]]; then        # the one-file form of version 3
    shared+=("${catch#* }/catch_amalgamated.cpp")
    mkdir -p "$work/catch/catch2"
    echo '#include <catch_amalgamated.hpp>' >"$work/catch/catch2/catch_all.hpp"
  fi
  for f in "${shared[@]}" "$root"/tests/{cuda,kernels,ladders}/*_test.cpp; do
    printf '%s\t%s\t%s\n' "$f" "$(object_of "$f")" "$cxx $(test_flags)"
  done >"$work/test_list"
  { cat "$work/test_list"; ladder_list; } | build_all tests
  for folder in cuda kernels ladders; do  # test_cuda, test_kernels, test_ladders
    # shellcheck disable=SC2046
    "$cxx" $(for f in "${shared[@]}" "$root"/tests/$folder/*_test.cpp; do object_of "$f"; done) $(ladder_list | cut -f2) $(library_objects) $(link_flags) \
      -o "$work/bin/test_$folder" || die "the tests of tests/$folder did not link"
  done
}

# ---- running ---------------------------------------------------------------------------------------------------

# each_test STEP COMMAND...: the command with one test file's filter after the other; results in out/STEP/<folder>_<file>.{ok,failed,log}.
each_test() {
  local step=$1 f stem folder out=$work/out/$1 status
  shift
  mkdir -p "$out"
  for f in "$root"/tests/{cuda,kernels,ladders}/*_test.cpp; do
    folder=$(basename "$(dirname "$f")")
    stem=${folder}_$(basename "$f" .cpp)
    [[ ! -e $out/$stem.ok && ! -e $out/$stem.failed ]] || continue
    if out_of_time; then pause "$step"; fi
    status=0
    timeout "$(left)" "$@" "$work/bin/test_$folder" -\# "[#$(basename "$f" .cpp)]" >"$out/$stem.log" 2>&1 || status=$?
    if [[ $status -eq 0 ]]; then touch "$out/$stem.ok"
    elif [[ $status -eq 124 ]]; then
      # A file that does not fit a whole call never will.
      if [[ -e $out/$stem.once ]]; then touch "$out/$stem.failed"; missed "$step: $stem takes more than $minutes minutes"; continue; fi
      touch "$out/$stem.once"
      pause "$step"
    else
      touch "$out/$stem.failed"
      say "$step: $stem FAILED, see $out/$stem.log"
    fi
  done
  say "$step: $(find "$out" -name '*.ok' | wc -l) files passed, $(find "$out" -name '*.failed' | wc -l) failed"
}

step_run() {
  machine
  [[ -x $work/bin/test_cuda ]] || { missed "run: there is no test program"; return 0; }
  each_test run env
}
step_sanitize() {
  machine
  [[ -x $work/bin/test_cuda ]] || return 0
  local tool=${GRADUS_SANITIZER:-$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")}
  [[ -x $tool ]] || { missed "sanitize: no compute-sanitizer in the toolkit"; return 0; }
  each_test sanitize "$tool" --tool memcheck --error-exitcode 9 --leak-check no
  each_test racecheck "$tool" --tool racecheck --error-exitcode 9
}

step_bench() {
  machine
  local source=$root/bench/gpu/gpu_bench.cpp
  { printf '%s\t%s\t%s\n' "$source" "$(object_of "$source")" "$cxx $(host_flags) -O2"; ladder_list; } | build_all bench
  # shellcheck disable=SC2046
  "$cxx" "$(object_of "$source")" $(ladder_list | cut -f2) $(library_objects) $(link_flags) -o "$work/bin/gpu_bench" || die "the benchmarks did not link"
  # One case a call of the program, so that a pause loses one case at most.
  local name
  mkdir -p "$work/out/bench"
  "$work/bin/gpu_bench" --list >"$work/cases" || die "the benchmarks do not start: $("$work/bin/gpu_bench" --list 2>&1 | head -n 5)"
  while read -r name; do
    [[ ! -e $work/out/bench/$name.json ]] || continue
    if out_of_time; then pause bench; fi
    if timeout "$(left)" "$work/bin/gpu_bench" --case "$name" >"$work/out/bench/$name.part" 2>"$work/out/bench/$name.log"; then
      mv "$work/out/bench/$name.part" "$work/out/bench/$name.json"
    elif out_of_time; then pause bench
    else missed "bench: $name failed: $(head -n 1 "$work/out/bench/$name.log")"; echo '[]' >"$work/out/bench/$name.json"; fi
  done <"$work/cases"
}
step_peer() {
  machine
  local python=${GRADUS_PYTHON:-}
  for p in "$python" "${HOME:-/root}/.cache/gradus/venv/bin/python" python3; do
    if [[ -n $p ]] && "$p" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then python=$p; break; else python=; fi
  done
  if [[ -z $python ]]; then missed "peer: no Python with a PyTorch that sees the GPU (set GRADUS_PYTHON)"; return 0; fi
  timeout "$(left)" "$python" "$root/bench/gpu/torch_gpu.py" >"$work/out/torch.json" 2>"$work/out/torch.log" || {
    if out_of_time; then pause peer; fi
    missed "peer: $(tail -n 1 "$work/out/torch.log")"
    rm -f "$work/out/torch.json"
  }
}
# The rows of all cases as one JSON array, and as a table: the least times, and each kernel's against PyTorch's.
step_report() {
  machine
  local to=${GRADUS_RESULTS_DIR:-$root/bench/results} rows=$work/rows
  mkdir -p "$to"
  cat "$work"/out/bench/*.json "$work/out/torch.json" 2>/dev/null | grep '^{' | sed 's/: nan/: null/g; s/: inf/: null/g' >"$rows" || true
  {
    printf '{"gpu": "%s", "arch": "sm_%s", "driver": "%s", "cuda": "%s", "compiler": "%s", "commit": "%s",\n' "$gpu" "$arch" "$driver" "$toolkit" "$compiler" "$commit"
    printf ' "tests_passed": %d, "tests_failed": %d,\n "not_done": [' "$(find "$work/out/run" -name '*.ok' 2>/dev/null | wc -l)" "$(find "$work/out" -name '*.failed' | wc -l)"
    if [[ -s $work/missed ]]; then sed 's/["\\]/ /g; s/.*/"&"/' "$work/missed" | paste -sd,; fi
    printf '],\n "rows": [\n'
    sed '$!s/$/,/' "$rows"
    printf ']}\n'
  } >"$to/$name.json"
  {
    printf '# %s\n\nsm_%s, driver %s, CUDA %s, %s, commit %s. Written by `./gradus gpu`.\n\n' "$gpu" "$arch" "$driver" "$toolkit" "$compiler" "$commit"
    printf 'Tests on the device: %d files passed, %d failed (compute-sanitizer included).\n' "$(find "$work/out/run" -name '*.ok' 2>/dev/null | wc -l)" "$(find "$work/out" -name '*.failed' | wc -l)"
    if [[ -s $work/missed ]]; then printf '\nNot done:\n\n'; sed 's/^/- /' "$work/missed"; fi
    printf '\nThe share is of a copy'"'"'s bandwidth on this device, for products of cuBLAS'"'"' speed; the error is against float64.\n\n'
    printf '| case | kernel | ms | GB/s | GFLOP/s | share | error | PyTorch ms | ratio |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n'
    awk -F'[:,}] *' '
      function value(key,   i) { for (i = 1; i < NF; ++i) if ($i ~ "\"" key "\"$") { v = $(i + 1); gsub(/"/, "", v); return v == "null" ? "" : v } return "" }
      { device = value("device"); name = value("case") }
      device == "torch" { torch[name] = value("ms"); next }
      { ++n; names[n] = name; kernel[n] = device == "cpu" ? "Cpu" : "Cuda " value("kernel"); ms[n] = value("ms")
        rest[n] = value("GB/s") " | " value("GFLOP/s") " | " value("share") " | " value("error") }
      END { for (i = 1; i <= n; ++i) printf "| %s | %s | %s | %s | %s | %s |\n", names[i], kernel[i], ms[i], rest[i], torch[names[i]],
              torch[names[i]] != "" ? sprintf("%.2f", ms[i] / torch[names[i]]) : "" }' "$rows"
  } >"$to/$name.md"
  say "wrote $to/$name.json and $to/$name.md"
}

for s in "${steps[@]}"; do
  is_done "$s" && continue
  if out_of_time; then pause "$s"; fi
  say "step $s"
  "step_$s"
  touch "$(done_file "$s")"
done
say "all steps are done"
if [[ -s $work/missed ]]; then say "what could not be done:"; sed 's/^/  /' "$work/missed" >&2; fi
failures=$(find "$work/out" -name '*.failed' | wc -l)
((failures == 0)) || die "$failures test files failed; their logs: $(find "$work/out" -name '*.failed' | sed 's/failed$/log/' | paste -sd' ')"
