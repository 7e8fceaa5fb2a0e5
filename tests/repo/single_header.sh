#!/usr/bin/env bash
# single_header.sh ROOT WORK CXX EIGEN: the amalgamated header alone trains a network, in two translation units, without warnings
set -euo pipefail
root=$1 work=$2 cxx=$3 eigen=$4
rm -rf "$work"
mkdir -p "$work"
"$root/third_party/amalgamate.sh" >"$work/gradus.hpp"
cat >"$work/main.cpp" <<'END'
#include "gradus.hpp"
#include <cstdio>
double elsewhere(const gradus::Tensor<float>& x);
int main() {
  using namespace gradus;
  manual_seed(1);
  nn::Sequential<float> net{nn::Linear{2, 16}, nn::Tanh{}, nn::Linear{16, 1}};
  optim::Adam opt(net, {.lr = 0.05});
  const auto x = randn({64, 2});
  const auto y = sin(x(all, slice(0, 1))) * x(all, slice(1, 2));
  double first = 0, last = 0;
  for (int k = 0; k < 200; ++k) {
    const auto loss = mean(square(net(x) - y));
    opt.zero_grad(), loss.backward(), opt.step();
    (k ? last : first) = loss.item();
  }
  std::printf("loss %g -> %g\n", first, last);
  return last < 0.1 * first && elsewhere(ones({3})) == 3 ? 0 : 1;
}
END
cat >"$work/other.cpp" <<'END'
#include "gradus.hpp"
double elsewhere(const gradus::Tensor<float>& x) { return gradus::sum(x).item(); }
END
"$cxx" -std=c++20 -Wall -Wextra -Werror -I"$work" -isystem "$eigen" "$work/main.cpp" "$work/other.cpp" -o "$work/main"
"$work/main"
for wrong in no/such.hpp; do
  if said=$("$root/third_party/amalgamate.sh" $wrong 2>&1); then echo "amalgamate.sh takes $wrong"; exit 1; fi
  [[ $said == *"no include/$wrong"* ]] || { echo "amalgamate.sh: $said"; exit 1; }
done
