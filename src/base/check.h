/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Our fault" assertions. They stay on in release builds: a broker that goes on with a broken
 * invariant loses messages, one that stops is restarted. The peer's faults are reason codes and
 * the world's faults are `enum rc`; neither ever reaches CHECK.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

/* Prints what failed and where to stderr and aborts. Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(__FILE__, __LINE__, #condition);                                          \
    } while (0)

#define UNREACHABLE() check_failed(__FILE__, __LINE__, "unreachable")

#endif
