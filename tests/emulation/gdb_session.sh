#!/usr/bin/env bash
# Scripted gdb sessions on emulated kernels: break in one CUDA thread, look at the others.
# usage: gdb_session.sh PROGRAM SCRIPT    PROGRAM is test_emulation, SCRIPT gradus_emu.py
set -euo pipefail
program=$1 script=$2
fail() { printf 'gdb session: %s\n---- output ----\n%s\n' "$1" "$2" >&2; exit 1; }
expect() { grep -Eq -- "$1" <<<"$2" || fail "nothing like: $1" "$2"; }
session() { OMP_NUM_THREADS=1 timeout 300 gdb -q -nx -batch -ex 'set confirm off' -ex 'set width 0' -ex 'set debuginfod enabled off' "$@" 2>&1; }
first=(--args "$program" "16-byte accesses*")

# 1 the first line of one thread, its index, a step
out=$(GRADUS_EMU_BREAK='emulation_test::(anonymous namespace)::reverse_dynamic:b0:t17' session -ex "source $script" -ex run -ex next -ex 'print threadIdx' -ex 'bt 1' "${first[@]}")
expect 'reverse_dynamic \(x=' "$out"
expect 'first\.cu:[0-9]+' "$out"
expect '= \{x = 17, y = 0, z = 0\}' "$out"

# 2 at the second part of the kernel thread 0 has passed the barrier, the others are ready; one is looked at
line=$(grep -n 'x\[threadIdx.x\] = s\[blockDim.x - 1 - threadIdx.x\]' "$(dirname "$0")/first.cu" | cut -d: -f1)
out=$(session -ex "source $script" -ex "break first.cu:$line" -ex run -ex 'gradus threads' -ex 'gradus bt 33' -ex 'gradus cuda-thread 0 12' -ex 'print threadIdx' \
      -ex 'gradus cuda-thread 5 12' "${first[@]}" || true)
expect 'reverse, grid \(1, 1, 1\), block \(200, 1, 1\)' "$out"
expect 'b0 t0 +running' "$out"
expect 'b0 t1-t199 +ready' "$out"
expect 'b0.t33 .*ready' "$out"
expect '#[0-9]+ .*reverse_dynamic .*first\.cu:[0-9]+' "$out"
expect 'b0.t12 ' "$out"
expect '= \{x = 0, y = 0, z = 0\}' "$out"
expect 'no such thread in the blocks that run now: block 5, thread 12' "$out"

# 3 before the barrier is complete, the threads that wait are shown with their line
barrier=$((line - 1))
out=$(session -ex "source $script" -ex "break first.cu:$barrier if threadIdx.x == 5" -ex run -ex 'gradus threads' "${first[@]}")
expect "b0 t0-t4 +at a barrier +first\.cu:$barrier" "$out"
expect 'b0 t5 +running' "$out"
expect 'b0 t6-t199 +not started' "$out"

# 4 native threads: gdb's own commands
out=$(GRADUS_EMU_BACKEND=threads session -ex "break first.cu:$line" -ex run -ex 'info threads' -ex 'thread apply all -q bt 16' "${first[@]}")
expect '"b0\.t17"' "$out"
expect '"b0\.t199"' "$out"
count=$(grep -c 'reverse_dynamic (x=' <<<"$out")
((count >= 200)) || fail "thread apply all shows $count kernels, not 200" "$(tail -n 40 <<<"$out")"

# 5 without the script the program stops by itself
out=$(GRADUS_EMU_BREAK=reverse_dynamic:b0:t3 session -ex run "${first[@]}" || true)
expect 'block 0, thread 3 of .*reverse_dynamic is about to start' "$out"
expect 'SIGTRAP' "$out"
echo "gdb sessions: as expected"
