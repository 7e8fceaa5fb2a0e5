// Layers. nn/module.hpp says what a module is.
#pragma once
#include <gradus/nn/activation.hpp>
#include <gradus/nn/conv.hpp>
#include <gradus/nn/init.hpp>
#include <gradus/nn/linear.hpp>
#include <gradus/nn/module.hpp>
#include <gradus/nn/norm.hpp>
#include <gradus/nn/pool.hpp>
#include <gradus/nn/sequential.hpp>
