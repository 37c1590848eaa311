# SPDX-License-Identifier: Apache-2.0
#
# What cmake --install puts where: the program, its systemd unit, and what the program writes about
# itself (man pages, completions, the commented configuration). With the prefixes /usr and
# /usr/local the configuration goes to /etc, with any other prefix it stays below that prefix; one
# that is already there is never overwritten.

if(NOT TARGET skein)
    return()
endif()

set(generated ${CMAKE_BINARY_DIR}/generated)
if(NOT SKEIN_SANITIZE)
    add_custom_command(
        OUTPUT ${generated}/stamp
        COMMAND skein docs ${generated}
        COMMAND ${CMAKE_COMMAND} -E touch ${generated}/stamp
        DEPENDS skein
        COMMENT "Writing man pages, completions and the default configuration"
        VERBATIM)
    add_custom_target(generated ALL DEPENDS ${generated}/stamp)
endif()

install(TARGETS skein RUNTIME)
install(DIRECTORY ${generated}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 FILES_MATCHING
        PATTERN "*.1")
install(FILES ${generated}/skein.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${generated}/completions/skein.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME skein)
install(FILES ${generated}/completions/_skein
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${generated}/completions/skein.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

configure_file(${CMAKE_CURRENT_LIST_DIR}/install.cmake.in ${CMAKE_BINARY_DIR}/install.cmake @ONLY)
install(SCRIPT ${CMAKE_BINARY_DIR}/install.cmake)
