// All losses, by family. Reduction::mean is the default where the field has a reduction.
#pragma once
#include <gradus/ops/losses/classification.hpp>
#include <gradus/ops/losses/contrastive.hpp>
#include <gradus/ops/losses/divergence.hpp>
#include <gradus/ops/losses/generative.hpp>
#include <gradus/ops/losses/image.hpp>
#include <gradus/ops/losses/margin.hpp>
#include <gradus/ops/losses/preference.hpp>
#include <gradus/ops/losses/regression.hpp>
#include <gradus/ops/losses/segmentation.hpp>
#include <gradus/ops/losses/sequence.hpp>
#include <gradus/ops/losses/similarity.hpp>
#include <gradus/ops/losses/transport.hpp>
