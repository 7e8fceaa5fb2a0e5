// Several processes: needs MPI, link gradus::dist. dist/README.md says how to start them.
#pragma once
#include <gradus/dist/checkpoint.hpp>
#include <gradus/dist/data_parallel.hpp>
#include <gradus/dist/group.hpp>
#include <gradus/dist/sharded.hpp>
