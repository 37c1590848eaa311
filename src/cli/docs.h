/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the option tables: the reference, man pages, completion scripts. Each function
 * writes one whole document to `out`. Hidden commands and options are left out. */
#ifndef CLI_DOCS_H
#define CLI_DOCS_H

#include "cli/commands.h"

/* docs/reference/cli.md. */
void docs_write_reference(FILE *out);

/* skein.1, the page that lists the commands. */
void docs_write_man_overview(FILE *out);
/* skein-<command>.1. */
void docs_write_man(const struct command *command, FILE *out);

/* skein.bash, _skein, skein.fish. */
void docs_write_bash(FILE *out);
void docs_write_zsh(FILE *out);
void docs_write_fish(FILE *out);

/* Length of the first sentence, without its full stop; for places where only a few words fit. */
size_t docs_first_sentence(const char *text);

#endif
