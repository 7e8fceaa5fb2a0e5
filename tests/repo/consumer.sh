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
falls() { awk '/loss/ { if (!n++) first = $NF; last = $NF } END { exit !(n > 2 && last < first / 100) }' "$1"; }
falls "$work/output"

# The same through FetchContent, as a project of its own; a compiler cache has the objects already.
if [[ $how == subdirectory ]] && command -v ccache >/dev/null; then
  mkdir "$work/fetched"
  cp "$work/mine/main.cpp" "$work/fetched"
  cat >"$work/fetched/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(fetched CXX)
include(FetchContent)
FetchContent_Declare(gradus SOURCE_DIR "$root")
FetchContent_MakeAvailable(gradus)
add_executable(fetched main.cpp)
target_link_libraries(fetched PRIVATE gradus::gradus)
END
  cmake -S "$work/fetched" -B "$work/build_fetched" "${options[@]}" -DGRADUS_NATIVE=ON
  cmake --build "$work/build_fetched"
  "$work/build_fetched/fetched" >"$work/output_fetched"
  falls "$work/output_fetched"
fi

# The installed library for another build system, under other flags than ours.
if [[ $how == package ]] && command -v pkg-config >/dev/null; then
  pc=$(find "$work/prefix" -name gradus.pc)
  export PKG_CONFIG_PATH=${pc%/*}
  [[ $(pkg-config --modversion gradus) == $(sed -n 's/.*GRADUS_VERSION_STRING "\(.*\)".*/\1/p' "$root/include/gradus/core/config.hpp") ]]
  # shellcheck disable=SC2046
  "${CXX:-c++}" -std=c++2b -O1 -Wall -Wextra -Wconversion -Werror $(pkg-config --cflags gradus) "$work/mine/main.cpp" -o "$work/by_pkg_config" \
    $(pkg-config --libs gradus)
  "$work/by_pkg_config" >"$work/output_pkg_config"
  falls "$work/output_pkg_config"
  # The Debian package has what was installed.
  if command -v cpack >/dev/null && command -v dpkg-deb >/dev/null; then
    (cd "$build" && cpack -G DEB -B "$work/deb" >"$work/cpack.log")
    deb=("$work"/deb/libgradus-dev_*.deb)
    dpkg-deb -I "${deb[0]}" >"$work/deb.info"
    grep -q "^ Package: libgradus-dev" "$work/deb.info"
    dpkg-deb -c "${deb[0]}" >"$work/deb.list"
    for file in include/gradus.hpp include/gradus/debug/gdb.py libgradus.a cmake/gradus/gradusConfig.cmake pkgconfig/gradus.pc gradus/cpu/gradus.cpp; do
      grep -q "/usr/.*$file\$" "$work/deb.list" || { echo "not in the package: $file"; exit 1; }
    done
  fi
fi
