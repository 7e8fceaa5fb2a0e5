// Optimizers and schedules.
#pragma once
#include <gradus/optim/adam.hpp>
#include <gradus/optim/clip.hpp>
#include <gradus/optim/schedule.hpp>
#include <gradus/optim/sgd.hpp>
