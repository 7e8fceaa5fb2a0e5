// Helpers for training loops, which stay your own: checkpoints, meters, early stopping.
#pragma once
#include <gradus/training/checkpoint.hpp>
#include <gradus/training/meters.hpp>
