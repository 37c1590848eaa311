/* SPDX-License-Identifier: Apache-2.0 */
/* `skein version`. */
#include "cli/commands.h"

#include "config/version.h"

static int cmd_version(int argc, char **argv);

static const struct option version_options[] = {{0}};

static const struct exit_code version_exit_codes[] = {
    {EX_OK, "The version was printed."},
    {EX_USAGE, "The command line is wrong."},
    {0},
};

const struct command command_version = {
    .name = "version",
    .summary = "print the version",
    .synopsis = "",
    .description = "Prints the version of this program, as \"skein 0.1.0\".",
    .options = version_options,
    .exit_codes = version_exit_codes,
    .run = cmd_version,
};

static int cmd_version(int argc, char **argv)
{
    struct options o = options_begin(&command_version, argc, argv);

    while (options_next(&o)) {
    }
    if (o.ended)
        return o.exit_code;
    puts("skein " SKEIN_VERSION);
    return EX_OK;
}
