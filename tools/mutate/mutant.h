/* SPDX-License-Identifier: Apache-2.0 */
/* The mutants compiled into this program. For ./dev mutate only. Any thread. */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

/* True when mutant `number` (from 1) is the one that is broken now. */
int mutant(int number);

/* Gives `value`; notes that mutant `number` would have made a difference when it is not `neutral`.
 */
int mutant_saw(int number, int neutral, int value);

#endif
