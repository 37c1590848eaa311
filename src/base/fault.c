/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char fault_name[64];     /* empty: none; set before other threads start */
static _Atomic long fault_left; /* passes until it happens */

void fault_init(void)
{
    const char *asked = getenv("SKEIN_TEST_FAULT");
    const char *colon = asked == NULL ? NULL : strchr(asked, ':');
    if (colon == NULL || (size_t)(colon - asked) >= sizeof(fault_name))
        return;
    memcpy(fault_name, asked, (size_t)(colon - asked));
    fault_name[colon - asked] = '\0';
    atomic_store_explicit(&fault_left, strtol(colon + 1, NULL, 10), memory_order_relaxed);
}

void fault_point(const char *name)
{
    if (fault_name[0] == '\0' || strcmp(name, fault_name) != 0)
        return;
    if (atomic_fetch_sub_explicit(&fault_left, 1, memory_order_relaxed) == 1)
        raise(SIGKILL);
}

/* ---- failures ----------------------------------------------------------------------------------
 */

_Atomic bool fault_failing;
static char failing_name[64];                    /* set before fault_failing is */
static _Atomic long failing_after, failing_left; /* passes until then, and failures */

void fault_fail(const char *name, long skip, long count)
{
    atomic_store(&fault_failing, false);
    snprintf(failing_name, sizeof(failing_name), "%s", name);
    atomic_store(&failing_after, skip);
    atomic_store(&failing_left, count);
    atomic_store(&fault_failing, count > 0);
}

bool fault_fails_now(const char *name)
{
    if (strcmp(name, failing_name) != 0 || atomic_fetch_sub(&failing_after, 1) > 0)
        return false;
    return atomic_fetch_sub(&failing_left, 1) > 0;
}
