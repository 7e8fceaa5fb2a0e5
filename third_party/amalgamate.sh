#!/usr/bin/env bash
# One header with all of gradus that runs on a CPU: tensors, gradients, layers, optimisers; only Eigen besides.
#
#   third_party/amalgamate.sh [HEADER ...] > gradus.hpp     default: gradus.hpp gradus/nn.hpp gradus/optim.hpp gradus/training.hpp
#   g++ -std=c++20 -O2 -I. -I/usr/include/eigen3 hello.cpp
#
# Each file comes once, where it is first included; the kernels are compiled into the including file (GRADUS_HEADER_ONLY).
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if (($#)); then wanted=("$@"); else wanted=(gradus.hpp gradus/nn.hpp gradus/optim.hpp gradus/training.hpp); fi
for header in "${wanted[@]}"; do
  [[ -f $root/include/$header ]] || { echo "amalgamate.sh: no include/$header" >&2; exit 1; }
done
version=$(sed -n 's/.*GRADUS_VERSION_STRING "\(.*\)".*/\1/p' "$root/include/gradus/core/config.hpp")

cat <<EOF
// gradus $version in one file, for a CPU. Made by third_party/amalgamate.sh from: ${wanted[*]}
//
//   #include "gradus.hpp"                      g++ -std=c++20 -O2 -I/usr/include/eigen3 hello.cpp    (-fopenmp: threads)
//
EOF
sed 's,^,// ,; s, *$,,' "$root/LICENSE"
cat <<'EOF'
#pragma once
#ifndef GRADUS_HEADER_ONLY
#define GRADUS_HEADER_ONLY
#endif
EOF
printf '%s\n' "${wanted[@]}" | awk -v root="$root" '
  function fold(path,   n, i, part, kept, out) {             # "a/b/../c" -> "a/c"
    n = split(path, part, "/"); kept = 0
    for (i = 1; i <= n; ++i)
      if (part[i] == "..") --kept
      else if (part[i] != "." ) out[++kept] = part[i]
    path = out[1]
    for (i = 2; i <= kept; ++i) path = path "/" out[i]
    return path
  }
  function expand(path,   line, name, dir, target) {
    if (path in seen) return
    seen[path] = 1
    dir = path; sub(/[^\/]*$/, "", dir)
    print "// ---- " substr(path, length(root) + 2)
    while ((getline line < path) > 0) {
      if (line ~ /^#pragma once/) continue
      if (line ~ /^ *# *include *[<"]/) {
        name = line; sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*$/, "", name)
        target = ""
        if (line ~ /</) { if (name ~ /^gradus(\/|\.hpp)/) target = root "/include/" name }
        else target = fold(dir name)
        if (target in seen) continue
        if (target != "" && (getline probe < target) >= 0) {
          close(target); expand(target); continue
        }
      }
      print line
    }
    close(path)
  }
  { expand(root "/include/" $0) }'
