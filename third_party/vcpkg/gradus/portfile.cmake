# An overlay port that builds the checkout it lies in: vcpkg install gradus --overlay-ports=third_party/vcpkg
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)
vcpkg_check_linkage(ONLY_STATIC_LIBRARY)

set(device OFF)
if("emulated-cuda" IN_LIST FEATURES)
  set(device EMULATED)
endif()
vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DGRADUS_TESTS=OFF -DGRADUS_EXAMPLES=OFF -DGRADUS_BENCH=OFF -DGRADUS_NATIVE=OFF -DGRADUS_CUDA=${device})
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/gradus)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
