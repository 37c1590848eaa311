/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics reference, made from table.h and the tables of sys.c. */
#ifndef METRICS_DOCS_H
#define METRICS_DOCS_H

#include <stdio.h>

/* Writes docs/reference/metrics.md. */
void metrics_write_reference(FILE *out);

#endif
