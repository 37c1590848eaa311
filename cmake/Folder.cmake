# SPDX-License-Identifier: Apache-2.0
#
# skein_folder(<name> [USES <folders it may include>...] [LIBS <imported targets>...])
#
# Makes of src/<name>:
#   skein_<name>               static library of *.c, linked to exactly the folders in USES
#   <name>_<file>_test         one cmocka program for each <file>_test.c, run by ctest
#   <name>_<file>_bench        one program for each <file>_bench.c, built by the target benches
# A folder without .c files is an INTERFACE library. New files are picked up by themselves.
# tools/check_layers.py reads the same calls, so USES is the only place where layers are written.

function(skein_folder name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "USES;LIBS")
    set(dir ${CMAKE_SOURCE_DIR}/src/${name})
    file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.c)
    file(GLOB tests CONFIGURE_DEPENDS ${dir}/*_test.c)
    file(GLOB benches CONFIGURE_DEPENDS ${dir}/*_bench.c)
    set(programs ${tests} ${benches} ${dir}/main.c)
    list(REMOVE_ITEM sources ${programs})

    list(TRANSFORM arg_USES PREPEND skein_ OUTPUT_VARIABLE uses)
    if(sources)
        add_library(skein_${name} STATIC ${sources})
        set(scope PUBLIC)
    else()
        add_library(skein_${name} INTERFACE)
        set(scope INTERFACE)
    endif()
    set_property(GLOBAL APPEND PROPERTY SKEIN_FOLDERS skein_${name})
    target_include_directories(skein_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(skein_${name} ${scope} ${uses} ${arg_LIBS})

    if(SKEIN_TESTS)
        foreach(file IN LISTS tests)
            get_filename_component(stem ${file} NAME_WE)
            skein_unit_test(${name}_${stem} SOURCES ${file} LIBS skein_${name})
        endforeach()
    endif()
    foreach(file IN LISTS benches)
        get_filename_component(stem ${file} NAME_WE)
        skein_bench(${name}_${stem} SOURCES ${file} LIBS skein_${name})
    endforeach()
endfunction()

# skein_unit_test(<name> SOURCES <files> LIBS <targets>): a cmocka program that ctest runs.
function(skein_unit_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ${arg_LIBS} PkgConfig::CMOCKA)
    set_target_properties(${name} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

# skein_bench(<name> SOURCES <files> LIBS <targets>): built only by the target benches.
function(skein_bench name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    add_executable(${name} EXCLUDE_FROM_ALL ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ${arg_LIBS})
    add_dependencies(benches ${name})
endfunction()
