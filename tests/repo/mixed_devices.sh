#!/usr/bin/env bash
# Mixing devices does not compile, and the compiler's error is one readable line. mixed_devices.sh SOURCE COMPILER [flags]
set -euo pipefail
root=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# refuses NAME EXPRESSION TEXT [flags]: the expression must not compile, and an error line must have the text.
refuses() {
  local name=$1 expression=$2 text=$3
  shift 3
  cat >"$work/$name.cpp" <<CPP
#include <gradus/ops.hpp>
using namespace gradus;
void f(const Tensor<float>& host, const Tensor<double>& wide$([[ $name == off ]] || echo ', const Tensor<float, Cuda>& device')) { $expression; }
CPP
  if "${compiler[@]}" "$@" -fsyntax-only "$work/$name.cpp" >"$work/$name.log" 2>&1; then
    echo "$name: '$expression' compiles"; exit 1
  fi
  if ! grep -E 'error' "$work/$name.log" | grep -qF "$text"; then
    echo "$name: no error line says '$text':"; grep -E 'error' "$work/$name.log" | head -n 5; exit 1
  fi
  if [[ $(grep -cE '(^|[ :])error:' "$work/$name.log") -ne 1 ]]; then
    echo "$name: more than one error:"; grep -E 'error:' "$work/$name.log" | head -n 5; exit 1
  fi
}

compiler=("$@" -std=c++20 -I"$root/include")
with=-DGRADUS_WITH_CUDA=1
devices='the operands are on different devices; copy one of them with x.to<Cuda>() or x.to<Cpu>()'
refuses plus 'host + device' "$devices" $with
refuses times 'device * host' "$devices" $with
refuses matmul 'matmul(host, device)' "$devices" $with
refuses dtypes 'host + wide' 'the operands have different dtypes; convert one of them, as in x.to<float>()' $with
refuses off 'Tensor<float, Cuda> x(Shape{2})' 'needs a build with GRADUS_CUDA=ON (a GPU and the CUDA toolkit) or EMULATED'
printf '#include <gradus/ops.hpp>\nusing namespace gradus;\nauto f(const Tensor<float>& a, const Tensor<float, Cuda>& b) { return a.to<Cuda>() + b; }\n' >"$work/fine.cpp"
"${compiler[@]}" $with -fsyntax-only "$work/fine.cpp"
