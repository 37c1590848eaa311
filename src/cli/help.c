/* SPDX-License-Identifier: Apache-2.0 */
/* What --help prints, from the tables of options.h. Lines fit an 80-column terminal. */
#include "cli/options.h"

#include <string.h>

enum { WIDTH = 80, HELP_COLUMN = 26 };

/*
 * Prints plain text filled to WIDTH, each line after `indent` spaces; the first line starts at
 * `column`. Blank lines divide paragraphs.
 */
static void print_filled(FILE *out, const char *text, int column, int indent)
{
    while (*text != '\0') {
        size_t len = strcspn(text, " \n");
        if (len > 0) {
            if (column > indent && column + 1 + (int)len > WIDTH) {
                fprintf(out, "\n%*s", indent, "");
                column = indent;
            }
            if (column > indent) {
                fputc(' ', out);
                column++;
            }
            fprintf(out, "%.*s", (int)len, text);
            column += (int)len;
        }
        text += len;
        if (text[0] == '\n' && text[1] == '\n') {
            fprintf(out, "\n\n%*s", indent, "");
            column = indent;
            text++;
        }
        if (*text != '\0')
            text++;
    }
    fputc('\n', out);
}

/* "  -p, --port PORT" padded to the help column, on its own line when too long. */
static void print_entry(FILE *out, const char *head, const char *help)
{
    int used = fprintf(out, "  %s", head);

    if (used < 0)
        return;
    if (used + 2 > HELP_COLUMN) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - used, "");
    print_filled(out, help, HELP_COLUMN, HELP_COLUMN);
}

static void print_option(FILE *out, const struct option *option)
{
    char head[128], letter[8] = "    ";

    if (option->flags & OPTION_HIDDEN)
        return;
    if (option->id < OPTION_LONG)
        snprintf(letter, sizeof(letter), "-%c, ", option->id);
    snprintf(head, sizeof(head), "%s--%s%s%s", letter, option->name,
             option->argument != NULL ? " " : "", option->argument != NULL ? option->argument : "");
    print_entry(out, head, option->help);
}

void command_print_help(const struct command *command, FILE *out)
{
    fprintf(out, "usage: skein %s %s\n\n", command->name, command->synopsis);
    print_filled(out, command->description, 0, 0);
    if (command->operands != NULL) {
        fputs("\noperands:\n", out);
        for (const struct operand *operand = command->operands; operand->name != NULL; operand++)
            print_entry(out, operand->name, operand->help);
    }
    fputs("\noptions:\n", out);
    bool h_is_free = true;
    for (const struct option *option = command->options; option->id != 0; option++) {
        print_option(out, option);
        h_is_free = h_is_free && option->id != 'h';
    }
    print_entry(out, h_is_free ? "-h, --help" : "    --help", "Print this page.");
    fputs("\nexit codes:\n", out);
    for (const struct exit_code *code = command->exit_codes; code->meaning != NULL; code++) {
        char head[16];
        snprintf(head, sizeof(head), "%d", code->code);
        print_entry(out, head, code->meaning);
    }
    if (command->examples == NULL)
        return;
    fputs("\nexamples:\n", out);
    for (const struct example *example = command->examples; example->line != NULL; example++)
        fprintf(out, "  %s\n      %s\n", example->line, example->what);
}
