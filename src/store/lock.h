/* SPDX-License-Identifier: Apache-2.0 */
/* The lock that keeps two processes off one store: the engine's own file, for those who work on a
 * store without opening it. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "base/rc.h"

/* RC_OK: it is ours until store_lock_drop(*fd). RC_EXISTS: another process has it. RC_NOT_FOUND:
 * there is no such folder. RC_IO: errno says why. To be dropped before this process opens the
 * store: a lock of the kernel's kind ends with the first descriptor that is closed. */
enum rc store_lock_take(const char *dir, int *fd);
void store_lock_drop(int fd);

#endif
