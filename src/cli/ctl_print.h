/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the API for people: names and values, and lists as tables. What a client chose (its
 * identifier) is shown without control characters. */
#ifndef CLI_CTL_PRINT_H
#define CLI_CTL_PRINT_H

#include <jansson.h>
#include <stdio.h>

/* Any JSON object, in the order that it came in. */
void ctl_print(const json_t *answer, FILE *out);

#endif
