// Optimisers, what goes around them, and schedules.
#pragma once
#include <gradus/optim/adam.hpp>
#include <gradus/optim/adaptive.hpp>
#include <gradus/optim/average.hpp>
#include <gradus/optim/clip.hpp>
#include <gradus/optim/further.hpp>
#include <gradus/optim/layerwise.hpp>
#include <gradus/optim/lbfgs.hpp>
#include <gradus/optim/learning_rate_free.hpp>
#include <gradus/optim/matrix.hpp>
#include <gradus/optim/schedule.hpp>
#include <gradus/optim/schedule_free.hpp>
#include <gradus/optim/sgd.hpp>
#include <gradus/optim/sophia.hpp>
#include <gradus/optim/wrappers.hpp>
