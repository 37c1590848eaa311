/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time inside the broker is monotonic and counts suspend (CLOCK_BOOTTIME): wall-clock jumps and
 * machines that boot in 1970 change nothing. The wall clock is for people and for logs only.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since some moment before the process started; never goes back, never 0. */
uint64_t clock_ms(void);

/* Nanoseconds on the same clock. */
uint64_t clock_ns(void);

/* Nanoseconds of CPU that the calling thread has used; a system call. */
uint64_t clock_thread_cpu_ns(void);

/* The same of the whole process. */
uint64_t clock_process_cpu_ns(void);

/* Milliseconds since 1970 as the machine believes it; for display only. */
uint64_t clock_wall_ms(void);

#endif
