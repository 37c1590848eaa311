/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the mutants compiled into this program is broken now. For ./dev mutate only. */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

/* True when mutant `number` (from 1) is the broken one; notes that it was reached. Any thread. */
int mutant(int number);

#endif
