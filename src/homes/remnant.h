/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what is left of an engine is to be given up. Pure. */
#ifndef HOMES_REMNANT_H
#define HOMES_REMNANT_H

#include <stdbool.h>
#include <stdint.h>

/* Whether there are more nodes than a log has copies. */
bool remnant_is_possible(uint32_t nodes);

/* Of so many nodes, this one among them, whose engine runs, so many others say that theirs are
 * unclean. */
bool remnant_is_one(uint32_t nodes, uint32_t unclean);

#endif
