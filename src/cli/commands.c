/* SPDX-License-Identifier: Apache-2.0 */
/* The list of subcommands. */
#include "cli/commands.h"

#include <stddef.h>
#include <string.h>

const struct command *const commands[] = {
    &command_serve, &command_ctl,     &command_pub,     &command_sub,  &command_bench,
    &command_store, &command_cluster, &command_version, &command_docs, NULL,
};

const struct command *command_find(const char *name)
{
    for (const struct command *const *command = commands; *command != NULL; command++)
        if (strcmp((*command)->name, name) == 0)
            return *command;
    return NULL;
}
