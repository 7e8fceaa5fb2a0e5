// How cpu/*.cpp and cuda/*.cu instantiate their kernel templates.
#pragma once

namespace gradus::kernels {

/// The kernel of device D among the overloads of f: instance<Cpu>(&softmax_fwd<float>). Taking the address instantiates it.
template <class D, class R, class... A> void* instance(R (*f)(D, A...)) { return reinterpret_cast<void*>(f); }

}  // namespace gradus::kernels
