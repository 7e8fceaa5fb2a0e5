#!/usr/bin/env bash
# Registers, static shared memory and spilled bytes of every kernel, from the compiler: no GPU needed. A table in Markdown.
#
#   bench/gpu/registers.sh [FILE.cu ...]       bench/ladders/*.cu when none is named
#
# 255 registers is the limit of a thread; an SM has 65536, so that 64 registers still allow 1024 threads. A spilled byte goes to memory.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
nvcc=${GRADUS_NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[[ -x $nvcc ]] || { echo "registers.sh: no nvcc on the PATH or in /usr/local/cuda/bin; set GRADUS_NVCC" >&2; exit 1; }
if (($#)); then files=("$@"); else files=("$root"/bench/ladders/*.cu); fi

echo "| file | kernel | sm_80: registers, shared, spilled | sm_90a: registers, shared, spilled |"
echo "|---|---|---|---|"
for f in "${files[@]}"; do
  for arch in 80 90a; do
    "$nvcc" -std=c++20 --expt-relaxed-constexpr --extended-lambda -O3 -gencode "arch=compute_$arch,code=sm_$arch" -Xptxas -v -Xcompiler=-Wno-restrict \
      -DGRADUS_WITH_CUDA=1 -I"$root/include" -I"$root" -c "$f" -o /dev/null 2>&1 |
      awk -v arch=$arch '
        /Compiling entry function/ { split($0, q, "\047"); name = q[2] }
        /spill stores/ { for (i = 1; i <= NF; ++i) if ($i == "spill" && $(i + 1) ~ /stores/) spilled = $(i - 2) }
        /Used .* registers/ { match($0, /[0-9]+ bytes smem/); shared = RSTART ? substr($0, RSTART, RLENGTH) + 0 : 0
                              match($0, /Used [0-9]+/); print name, arch, substr($0, RSTART + 5, RLENGTH - 5) ", " shared ", " spilled }'
  done | c++filt | sed 's/(anonymous namespace):://g; s/^void //; s/gradus::ladders:://g; s/gradus::kernels::cu:://g; s/gradus:://g; s/(int)//g; s/(\([A-Z][A-Za-z]*\))\([0-9]\)/\1 \2/g; s/(bool)1/true/g; s/(bool)0/false/g' |
    awk -v file="$(basename "$f")" '
      { figures = $(NF - 2) " " $(NF - 1) " " $NF; arch = $(NF - 3); name = $0; sub(/ (80|90a) [0-9]+, [0-9]+, [0-9]+$/, "", name); sub(/\(.*/, "", name)
        if (!(name in first)) { first[name] = 1; order[++n] = name }
        of[name, arch] = figures }
      END { for (i = 1; i <= n; ++i) printf "| %s | `%s` | %s | %s |\n", file, order[i], of[order[i], "80"], of[order[i], "90a"] }' | sort
done
