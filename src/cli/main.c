/* SPDX-License-Identifier: Apache-2.0 */
/* `skein`: finds the subcommand and hands over to it. */
#include "cli/commands.h"

#include "config/nearest.h"

#include <string.h>

static void print_usage(FILE *out)
{
    fputs("usage: skein COMMAND [OPTIONS]\n\nAn MQTT broker, and what goes with it.\n\ncommands:\n",
          out);
    for (const struct command *const *command = commands; *command != NULL; command++)
        if (!(*command)->hidden)
            fprintf(out, "  %-10s%s\n", (*command)->name, (*command)->summary);
    fputs("\n'skein COMMAND --help' says more.\n", out);
}

static int fail_unknown(const char *word)
{
    struct nearest nearest = nearest_begin(word);

    for (const struct command *const *command = commands; *command != NULL; command++)
        if (!(*command)->hidden)
            nearest_offer(&nearest, (*command)->name, (*command)->name);
    const char *best = nearest_get(&nearest);
    fprintf(stderr, "skein: unknown command '%s'", word);
    if (best != NULL)
        fprintf(stderr, "; did you mean %s?", best);
    fputs("\ntry 'skein --help'\n", stderr);
    return EX_USAGE;
}

/* What was printed is worth nothing if it did not arrive: a full disk is not success. */
static int finish(int exit_code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    perror("skein: standard output");
    return exit_code == EX_OK ? EX_IOERR : exit_code;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (word[0] == '\0') {
        print_usage(stderr);
        return EX_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_usage(stdout);
        return finish(EX_OK);
    }
    if (strcmp(word, "--version") == 0)
        word = "version";
    const struct command *command = command_find(word);
    if (command == NULL)
        return fail_unknown(word);
    return finish(command->run(argc - 1, argv + 1));
}
