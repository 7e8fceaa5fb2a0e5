// All operators.
#pragma once
#include <gradus/ops/binary.hpp>
#include <gradus/ops/elementwise.hpp>
#include <gradus/ops/index.hpp>
#include <gradus/ops/losses.hpp>
#include <gradus/ops/map.hpp>
#include <gradus/ops/matmul.hpp>
#include <gradus/ops/norm.hpp>
#include <gradus/ops/random.hpp>
#include <gradus/ops/reduce.hpp>
#include <gradus/ops/shape.hpp>
#include <gradus/ops/softmax.hpp>
#include <gradus/ops/view.hpp>
