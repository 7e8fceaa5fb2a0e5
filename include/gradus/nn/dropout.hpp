// All dropout layers. p is the probability of DROPPING everywhere; `training`, `monte_carlo` and p are explained in
// nn/dropout/modes.hpp, masks that are taken down and used again in ops/mask.hpp.
#pragma once
#include <gradus/nn/dropout/attention.hpp>
#include <gradus/nn/dropout/concrete.hpp>
#include <gradus/nn/dropout/graph.hpp>
#include <gradus/nn/dropout/image.hpp>
#include <gradus/nn/dropout/modes.hpp>
#include <gradus/nn/dropout/nested.hpp>
#include <gradus/nn/dropout/path.hpp>
#include <gradus/nn/dropout/ranked.hpp>
#include <gradus/nn/dropout/sequence.hpp>
#include <gradus/nn/dropout/training.hpp>
#include <gradus/nn/dropout/unit.hpp>
#include <gradus/nn/dropout/variational.hpp>
#include <gradus/nn/dropout/weight.hpp>
