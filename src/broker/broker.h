/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up, workers, shutdown of one node. Knows every folder of the road; only the command line
 * knows it. */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "config/config.h"

/* Exit codes of broker_run(), from sysexits.h. */
enum {
    BROKER_EXIT_OK = 0,
    BROKER_EXIT_UNAVAILABLE = 69, /* an address is taken, or the data directory */
    BROKER_EXIT_OS = 71,
    BROKER_EXIT_DATA = 65, /* the store is damaged, or of a newer version; what helps is printed */
    BROKER_EXIT_IO = 74,   /* the store cannot be opened */
};

/*
 * Serves until SIGTERM or SIGINT, then drains for at most broker.drain_timeout_ms. Blocks; call it
 * on the main thread before any other thread exists. Borrows config and data_dir. Gives the exit
 * code.
 */
int broker_run(const struct config *config, const char *data_dir);

#endif
