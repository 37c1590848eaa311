/* SPDX-License-Identifier: Apache-2.0 */
#include "base/breaks.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#ifdef SKEIN_BREAKS

_Atomic int breaks_kind;

static const struct {
    enum break_kind kind;
    const char *name;
} known[] = {
#define BREAK_NAME(symbol, name, what) {symbol, name},
    BREAKS(BREAK_NAME)
#undef BREAK_NAME
};

void breaks_set(enum break_kind kind)
{
    atomic_store_explicit(&breaks_kind, (int)kind, memory_order_relaxed);
}

const char *breaks_init(void)
{
    const char *asked = getenv("SKEIN_TEST_BREAK");
    if (asked == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(asked, known[i].name) == 0) {
            breaks_set(known[i].kind);
            return known[i].name;
        }
    CHECK(!"SKEIN_TEST_BREAK names nothing that can be broken");
}

#else

void breaks_set(enum break_kind kind)
{
    CHECK(kind == BREAK_NOTHING);
}

const char *breaks_init(void)
{
    CHECK(getenv("SKEIN_TEST_BREAK") == NULL); /* a test would think that it is broken */
    return NULL;
}

#endif
