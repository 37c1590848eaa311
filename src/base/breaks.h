/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protections that a test takes away, one at a time, to see that it would notice:
 * SKEIN_TEST_BREAK=NAME. Each is asked for at the one place where the protection is. A build with
 * -DSKEIN_BREAKS=OFF has none of them: broken() is false there.
 */
#ifndef BASE_BREAKS_H
#define BASE_BREAKS_H

#include <stdatomic.h>
#include <stdbool.h>

/* X(symbol, "name", what the broker does then). */
#define BREAKS(X)                                                                                  \
    X(BREAK_ACK_BEFORE_COMMIT, "ack_before_commit", "says that a record is safe before it is")     \
    X(BREAK_ACK_BEFORE_CHANGELOG, "ack_before_changelog",                                          \
      "says that records are committed which the changelog has not accepted yet")                  \
    X(BREAK_NO_FENCING, "no_fencing",                                                              \
      "appends behind whatever is there, and applies what a deposed home has appended")            \
    X(BREAK_NO_LEASE, "no_lease",                                                                  \
      "is sure to be home until it is deposed, opens what it has claimed at once, and "            \
      "acknowledges while groups have no homes")                                                   \
    X(BREAK_NO_DEDUPE, "no_dedupe", "delivers what an outbox sends again once more")               \
    X(BREAK_KEEP_REFUSED, "keep_refused", "writes what the changelog has refused")                 \
    X(BREAK_REGISTRATIONS_FORGOTTEN, "registrations_forgotten",                                    \
      "does not tell a new home which clients are connected here")

#define BREAK_SYMBOL(symbol, name, what) symbol,
enum break_kind { BREAK_NOTHING, BREAKS(BREAK_SYMBOL) };
#undef BREAK_SYMBOL

/* Reads SKEIN_TEST_BREAK. Once, before other threads start. The name of what is broken, NULL:
 * nothing is. A name that is none ends the program. */
const char *breaks_init(void);

/* For unit tests. */
void breaks_set(enum break_kind kind);

#ifdef SKEIN_BREAKS
extern _Atomic int breaks_kind; /* enum break_kind */

static inline bool broken(enum break_kind kind)
{
    /* relaxed: it is set before what it breaks begins */
    return __builtin_expect(atomic_load_explicit(&breaks_kind, memory_order_relaxed) == (int)kind,
                            0);
}
#else
static inline bool broken(enum break_kind kind)
{
    (void)kind;
    return false;
}
#endif

#endif
