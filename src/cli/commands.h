/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of `skein`, one file each. To add one: its file, a line here, a line in
 * commands.c. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/options.h"

#define DEFAULT_CONFIG_FILE "/etc/skein/skein.yaml"
#define DEFAULT_DATA_DIR "/var/lib/skein"

/* What `skein ctl` knows: every command in the table of resources, in its order, and get. A test
 * holds the two together. */
#define CTL_COMMANDS                                                                               \
    "health ready broker metrics cluster cluster-shards cluster-init cluster-drain "               \
    "cluster-undrain cluster-rebalance cluster-remove cluster-recover clients client disconnect "  \
    "delete-session store backup get"

extern const struct command command_serve;
extern const struct command command_pub;
extern const struct command command_sub;
extern const struct command command_ctl;
extern const struct command command_bench;
extern const struct command command_store;
extern const struct command command_cluster;
extern const struct command command_version;
extern const struct command command_docs; /* hidden: writes the generated documents */

/* All of them in the order of help; ends with NULL. */
extern const struct command *const commands[];

/* Gives NULL when there is none of that name. */
const struct command *command_find(const char *name);

#endif
