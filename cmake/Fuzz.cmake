# SPDX-License-Identifier: Apache-2.0
#
# skein_fuzz(<name> <source>): fuzz_<name> with libFuzzer where SKEIN_FUZZER is on, otherwise
# fuzz_replay_<name>, which feeds the files named on its command line to the same entry point.

function(skein_fuzz name source)
    if(SKEIN_FUZZER)
        set(program fuzz_${name})
        add_executable(${program} ${source})
        target_link_options(${program} PRIVATE -fsanitize=fuzzer)
    else()
        set(program fuzz_replay_${name})
        add_executable(${program} ${source} ${CMAKE_SOURCE_DIR}/fuzz/replay.c)
        set_target_properties(${program} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    endif()
    target_compile_options(${program} PRIVATE -Wno-missing-prototypes)
    target_link_libraries(${program} PRIVATE ${SKEIN_FOLDERS})
endfunction()
