/* SPDX-License-Identifier: Apache-2.0 */
/* What an acknowledgement has to wait for. */
#ifndef MODEL_DURABILITY_H
#define MODEL_DURABILITY_H

/* From the strictest on: what nobody decided is as safe as it gets. */
enum durability {
    DURABILITY_FSYNC,    /* what was acknowledged survives a loss of power */
    DURABILITY_INTERVAL, /* what was acknowledged survives the death of the process */
    DURABILITY_MEMORY,   /* nothing is waited for, and written only when memory is short */
};

#endif
