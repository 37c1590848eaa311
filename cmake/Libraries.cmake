# SPDX-License-Identifier: Apache-2.0
#
# Every library the tree links, as one imported target each. Why each is here: docs/dependencies.md.

find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

pkg_check_modules(URCU REQUIRED IMPORTED_TARGET GLOBAL liburcu-qsbr)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET GLOBAL libxxhash)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET GLOBAL yaml-0.1)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET GLOBAL libuv>=1.44)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET GLOBAL libcrypto)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET GLOBAL libsystemd)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET GLOBAL jansson)
pkg_check_modules(NATS REQUIRED IMPORTED_TARGET GLOBAL libnats)
pkg_check_modules(ROCKSDB REQUIRED IMPORTED_TARGET GLOBAL rocksdb)
if(SKEIN_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET GLOBAL cmocka)
endif()

# skein_find_library(<target> HEADER <header> NAMES <library names>): for libraries whose package
# has no pkg-config file.
function(skein_find_library target)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER" "NAMES")
    find_path(${target}_INCLUDE ${arg_HEADER} REQUIRED)
    find_library(${target}_LIBRARY NAMES ${arg_NAMES} REQUIRED)
    mark_as_advanced(${target}_INCLUDE ${target}_LIBRARY)
    add_library(${target} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(
        ${target}
        PROPERTIES IMPORTED_LOCATION ${${target}_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES
                                                          ${${target}_INCLUDE})
endfunction()

skein_find_library(http_parser HEADER http_parser.h NAMES http_parser)
skein_find_library(wslay HEADER wslay/wslay.h NAMES wslay)
