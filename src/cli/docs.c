/* SPDX-License-Identifier: Apache-2.0 */
/* `skein docs DIR`: writes every document that is made from a table in the code. */
#include "cli/docs.h"

#include "broker/api.h"
#include "config/docs.h"
#include "metrics/docs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_ROOM = 4096 };

static int cmd_docs(int argc, char **argv);

static const struct option docs_options[] = {{0}};

static const struct operand docs_operands[] = {
    {.name = "DIR", .help = "The folder to write to; it is made if it is not there."},
    {0},
};

static const struct exit_code docs_exit_codes[] = {
    {EX_OK, "Everything was written."},
    {EX_USAGE, "The command line is wrong."},
    {EX_IOERR, "A file could not be written; the message says which."},
    {0},
};

const struct command command_docs = {
    .name = "docs",
    .summary = "write the generated documents",
    .synopsis = "DIR",
    .description = "Writes what is made from the tables in the program: reference/ (Markdown and a "
                   "JSON Schema), skein.yaml, man/ and completions/.",
    .options = docs_options,
    .operands = docs_operands,
    .exit_codes = docs_exit_codes,
    .run = cmd_docs,
    .hidden = true,
};

static void write_api(FILE *out)
{
    admin_write_reference(api_resources, out);
}

static const struct {
    const char *name;
    void (*write)(FILE *out);
} documents[] = {
    {"reference/config.md", config_write_reference},
    {"reference/config.schema.json", config_write_json_schema},
    {"reference/cli.md", docs_write_reference},
    {"reference/metrics.md", metrics_write_reference},
    {"reference/api.md", write_api},
    {"skein.yaml", config_write_default_file},
    {"man/skein.1", docs_write_man_overview},
    {"completions/skein.bash", docs_write_bash},
    {"completions/_skein", docs_write_zsh},
    {"completions/skein.fish", docs_write_fish},
};

static const char *const folders[] = {"", "/reference", "/man", "/completions"};

size_t docs_first_sentence(const char *text)
{
    const char *end = strstr(text, ". ");
    size_t len = end != NULL ? (size_t)(end - text) : strlen(text);

    return len > 0 && text[len - 1] == '.' ? len - 1 : len;
}

static int fail(const char *path)
{
    fprintf(stderr, "skein docs: %s: %s\n", path, strerror(errno));
    return EX_IOERR;
}

static int make_folders(const char *dir)
{
    char path[PATH_ROOM];

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", dir, folders[i]);
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return fail(path);
    }
    return EX_OK;
}

/* Closes `out` and says whether everything reached the file. */
static int finish(FILE *out, const char *path)
{
    bool bad = ferror(out) != 0;

    if (fclose(out) != 0 || bad)
        return fail(path);
    return EX_OK;
}

static int write_document(const char *dir, const char *name, void (*write)(FILE *out))
{
    char path[PATH_ROOM];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *out = fopen(path, "w");
    if (out == NULL)
        return fail(path);
    write(out);
    return finish(out, path);
}

static int write_man_page(const char *dir, const struct command *command)
{
    char path[PATH_ROOM];

    snprintf(path, sizeof(path), "%s/man/skein-%s.1", dir, command->name);
    FILE *out = fopen(path, "w");
    if (out == NULL)
        return fail(path);
    docs_write_man(command, out);
    return finish(out, path);
}

static int write_all(const char *dir)
{
    int result = make_folders(dir);

    for (size_t i = 0; result == EX_OK && i < sizeof(documents) / sizeof(documents[0]); i++)
        result = write_document(dir, documents[i].name, documents[i].write);
    for (const struct command *const *c = commands; result == EX_OK && *c != NULL; c++)
        if (!(*c)->hidden)
            result = write_man_page(dir, *c);
    return result;
}

static int cmd_docs(int argc, char **argv)
{
    struct options o = options_begin(&command_docs, argc, argv);
    const char *dir = NULL;

    while (options_next(&o)) {
        if (dir != NULL)
            options_fail(&o, "one folder is expected, got '%s' too", o.value);
        dir = o.value;
    }
    if (dir == NULL || strlen(dir) > PATH_ROOM - 64)
        options_fail(&o, "a folder is expected");
    if (o.ended)
        return o.exit_code;
    return write_all(dir);
}
