#!/usr/bin/env bash
# consumer.sh HOW ROOT BUILD WORK [cmake options]: the project that `./gradus new` writes, built and run
#   HOW = subdirectory   against the checkout in ROOT
#   HOW = package        against what `cmake --install BUILD` puts under WORK/prefix
set -euo pipefail
how=$1 root=$2 build=$3 work=$4
shift 4
rm -rf "$work"
mkdir -p "$work"
options=("$@")
if [[ $how == package ]]; then
  cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"
  options+=("-DCMAKE_PREFIX_PATH=$work/prefix" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF)
else
  options+=(-DCMAKE_DISABLE_FIND_PACKAGE_gradus=ON)
fi
"$root/gradus" new "$work/mine" >/dev/null
cmake -S "$work/mine" -B "$work/build" "${options[@]}"
if [[ $how == package ]]; then grep -q "^gradus_DIR:PATH=$work/prefix" "$work/build/CMakeCache.txt"; fi
cmake --build "$work/build"
"$work/build/mine" | tee "$work/output"
# The loss falls below a hundredth of where it began.
awk '/loss/ { if (!n++) first = $NF; last = $NF } END { exit !(n > 2 && last < first / 100) }' "$work/output"
