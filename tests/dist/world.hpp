// The group of all processes of this test program.
#pragma once
#include <gradus/dist/group.hpp>

gradus::dist::Group& world();

/// The same bits on every rank.
template <class T>
bool same_everywhere(const gradus::Tensor<T>& x) {
  const auto least = x.clone(), most = x.clone();
  world().all_reduce(least, gradus::dist::Reduce::min);
  world().all_reduce(most, gradus::dist::Reduce::max);
  return least.to_vector() == x.to_vector() && most.to_vector() == x.to_vector();
}
