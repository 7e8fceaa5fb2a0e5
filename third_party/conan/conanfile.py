"""Conan 2: conan create third_party/conan --build=missing"""
import os
import re

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load

SOURCES = ["CMakeLists.txt", "LICENSE", "include/*", "cpu/*", "cuda/*", "third_party/*.cmake", "third_party/*.in"]


class Gradus(ConanFile):
    name = "gradus"
    license = "MIT"
    description = "Tensors and automatic differentiation in C++20"
    topics = ("tensor", "autograd", "deep-learning")
    package_type = "static-library"
    settings = "os", "compiler", "build_type", "arch"
    options = {"cuda": ["OFF", "EMULATED", "ON"], "app": [True, False]}
    default_options = {"cuda": "OFF", "app": False}

    @property
    def root(self):
        return os.path.join(self.recipe_folder, os.pardir, os.pardir)

    def set_version(self):
        text = load(self, os.path.join(self.root, "include", "gradus", "core", "config.hpp"))
        self.version = re.search(r'GRADUS_VERSION_STRING "(.*)"', text).group(1)

    def export_sources(self):
        for pattern in SOURCES:
            copy(self, pattern, self.root, self.export_sources_folder)

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        self.requires("eigen/3.4.0", transitive_headers=True)
        if self.options.cuda == "EMULATED":
            self.requires("boost/1.83.0")
        if self.options.app:
            for package in ("cli11/2.3.2", "zlib/1.3.1", "stb/cci.20230920"):
                self.requires(package, transitive_headers=True)

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        for part in ("TESTS", "EXAMPLES", "BENCH", "NATIVE"):
            toolchain.cache_variables["GRADUS_" + part] = "OFF"
        toolchain.cache_variables["GRADUS_CUDA"] = str(self.options.cuda)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.set_property("cmake_find_mode", "none")  # the package's own gradusConfig.cmake
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "gradus")]
