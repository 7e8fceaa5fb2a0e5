#!/usr/bin/env bash
# snippets.sh ROOT WORK COMPILER [flags...]: every ```cpp block of the documentation compiles.
# A block that begins with #include is a file; any other is the inside of a function after `using namespace gradus`.
set -euo pipefail
root=$1 work=$2
shift 2
rm -rf "$work"
mkdir -p "$work"
bad=0 count=0
cd "$root"
for page in README.md CONTRIBUTING.md include/gradus/ARCHITECTURE.md include/gradus/ops/ADDING_AN_OP.md; do
  [[ -e $page ]] || continue
  awk -v stem="$work/$(basename "$page" .md)" -v page="$page" '
    /^```cpp/ { inside = 1; file = stem "_" (++n) ".cpp"; line = NR; next }
    /^```/ && inside { if (wrapped) print "}" > file; close(file); inside = wrapped = begun = 0; next }
    inside && !begun && /[^ ]/ {
      begun = 1
      wrapped = $0 !~ /^(\/\/|#include)/
      if (wrapped) print "#include <gradus.hpp>\nusing namespace gradus;\n[[maybe_unused]] static void snippet() {" > file
      printf "#line %d \"%s\"\n", NR, page > file
    }
    inside { print > file }' "$page"
done

# The right column of the table of names, in the scope that the page states, is C++ too. A build without a device knows
# its type, which is enough here.
table=$work/from_pytorch_table.cpp rows=0
page=include/gradus/FROM_PYTORCH.md
{
  echo "#define GRADUS_WITH_CUDA 1"
  sed -n '/^```cpp/,/^```/p' "$page" | sed '/^```/d'
  echo "[[maybe_unused]] static void table() {"
} >"$table"
while IFS=: read -r line entry; do
  entry=${entry##*| \`}
  entry=${entry%%\`*}
  printf '#line %d "%s"\n  static_cast<void>(%s);\n' "$line" "$page" "$entry" >>"$table"
  rows=$((rows + 1))
done < <(grep -n '^| .* | `[^`]*` |$' "$page")
echo "}" >>"$table"
echo "$rows names"
((rows >= 200)) || { echo "the table of names has lost rows"; bad=1; }
entries=$(grep -c '^| ' "$page") headings=$(grep -c '^| PyTorch' "$page")
((rows == entries - headings)) || { echo "$((entries - headings - rows)) rows of $page have no C++"; bad=1; }

for file in "$work"/*.cpp; do
  [[ -e $file ]] || break
  count=$((count + 1))
  "$@" -std=c++20 -fsyntax-only "$file" || { echo "does not compile: $file"; bad=1; }
done
echo "$count snippets"
((count > 0)) || bad=1
exit $bad
