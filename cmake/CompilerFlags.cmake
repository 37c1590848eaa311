# SPDX-License-Identifier: Apache-2.0
#
# Compiler and linker flags that every target of the tree shares.

add_compile_definitions(_GNU_SOURCE)
if(SKEIN_BREAKS)
    add_compile_definitions(SKEIN_BREAKS)
endif()
add_compile_options(
    -Wall
    -Wextra
    -Wshadow
    -Wstrict-prototypes
    -Wmissing-prototypes
    -Wvla
    -Wpointer-arith
    -Wundef
    -Wwrite-strings
    -Werror=implicit-function-declaration
    -Werror=incompatible-pointer-types
    -Werror=int-conversion
    -fno-common
    -fno-omit-frame-pointer
    -fstack-protector-strong
    -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_link_options(-Wl,-z,relro,-z,now -Wl,--as-needed)

if(SKEIN_WERROR)
    add_compile_options(-Werror)
endif()

set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

if(SKEIN_LTO)
    include(CheckIPOSupported)
    check_ipo_supported(RESULT lto_works OUTPUT lto_why_not LANGUAGES C)
    if(lto_works)
        set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    else()
        message(WARNING "no link-time optimisation: ${lto_why_not}")
    endif()
endif()

if(SKEIN_SANITIZE)
    add_compile_options(-fsanitize=${SKEIN_SANITIZE} -fno-sanitize-recover=all)
    string(REPLACE "fuzzer-no-link," "" sanitize_link "${SKEIN_SANITIZE}")
    add_link_options(-fsanitize=${sanitize_link})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
