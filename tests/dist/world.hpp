// The group of all processes of this test program.
#pragma once
#include <gradus/dist/group.hpp>

gradus::dist::Group& world();
