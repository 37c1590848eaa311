/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ctl_request.h"

#include "base/check.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct given {
    const struct admin_field *fields; /* of the resource; may be NULL */
    const char *values[ADMIN_PARAMETERS_MAX];
};

const struct resource *ctl_find(const struct resource *table, const char *command)
{
    for (const struct resource *r = table; r->path != NULL; r++)
        if (r->command != NULL && strcmp(r->command, command) == 0)
            return r;
    return NULL;
}

static bool fail(struct ctl_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct ctl_request *request, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(request->error, sizeof(request->error), format, args);
    va_end(args);
    return false;
}

/* ---- words to parameters -----------------------------------------------------------------------
 */

#define EACH_FIELD(i, given)                                                                       \
    for (size_t i = 0; (given)->fields != NULL && (given)->fields[i].name != NULL; i++)

/* Takes "limit=5". False: it is not of that form. */
static bool take_named(struct given *given, const char *word)
{
    size_t len = strcspn(word, "=");

    EACH_FIELD(i, given)
    {
        const struct admin_field *field = &given->fields[i];
        if (word[len] == '=' && field->presence == ADMIN_OPTIONAL && strlen(field->name) == len &&
            memcmp(field->name, word, len) == 0) {
            given->values[i] = word + len + 1;
            return true;
        }
    }
    return false;
}

static bool take_next(struct given *given, const char *word)
{
    EACH_FIELD(i, given)
    {
        if (given->values[i] == NULL) {
            given->values[i] = word;
            return true;
        }
    }
    return false;
}

static bool take_words(struct ctl_request *request, struct given *given, char *const *words,
                       size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!take_named(given, words[i]) && !take_next(given, words[i]))
            return fail(request, "unexpected word '%s'", words[i]);
    EACH_FIELD(i, given)
    if (given->values[i] == NULL && given->fields[i].presence == ADMIN_REQUIRED)
        return fail(request, "%s is missing", given->fields[i].name);
    return true;
}

/* ---- target ------------------------------------------------------------------------------------
 */

static void write_encoded(FILE *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL)
            fputc(*text, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*text);
    }
}

/* What stands for "{id}". */
static const char *path_value(const struct given *given, const char *name, size_t len)
{
    EACH_FIELD(i, given)
    {
        const struct admin_field *field = &given->fields[i];
        if (field->place == ADMIN_IN_PATH && strlen(field->name) == len &&
            memcmp(field->name, name, len) == 0)
            return given->values[i];
    }
    UNREACHABLE();
}

static void write_path(FILE *out, const char *pattern, const struct given *given)
{
    while (*pattern != '\0') {
        size_t len = strcspn(pattern, "{");
        fwrite(pattern, 1, len, out);
        pattern += len;
        if (*pattern == '{') {
            len = strcspn(pattern, "}");
            write_encoded(out, path_value(given, pattern + 1, len - 1));
            pattern += len + 1;
        }
    }
}

static void write_query(FILE *out, const struct given *given)
{
    char mark = '?';

    EACH_FIELD(i, given)
    {
        if (given->fields[i].place != ADMIN_IN_QUERY || given->values[i] == NULL)
            continue;
        fprintf(out, "%c%s=", mark, given->fields[i].name);
        write_encoded(out, given->values[i]);
        mark = '&';
    }
}

/* ---- body --------------------------------------------------------------------------------------
 */

/* A path as the broker, which has another current folder, understands it. */
static json_t *absolute(const char *path)
{
    char folder[PATH_MAX];

    if (path[0] == '/' || getcwd(folder, sizeof(folder)) == NULL)
        return json_string(path);
    return json_sprintf("%s/%s", folder, path);
}

/* NULL: not of the field's type. */
static json_t *member(const struct admin_field *field, const char *text)
{
    char *end = NULL;

    if (field->type == ADMIN_FILE)
        return absolute(text);
    if (field->type == ADMIN_BOOLEAN)
        return strcmp(text, "true") == 0    ? json_true()
               : strcmp(text, "false") == 0 ? json_false()
                                            : NULL;
    if (field->type != ADMIN_INTEGER)
        return json_string(text);
    long long number = strtoll(text, &end, 10);
    return text[0] == '\0' || *end != '\0' ? NULL : json_integer(number);
}

static bool make_body(struct ctl_request *request, const struct given *given)
{
    EACH_FIELD(i, given)
    {
        const struct admin_field *field = &given->fields[i];
        if (field->place != ADMIN_IN_BODY || given->values[i] == NULL)
            continue;
        if (request->body == NULL)
            request->body = json_object();
        if (json_object_set_new(request->body, field->name, member(field, given->values[i])) != 0)
            return fail(request, "%s cannot be '%.100s'", field->name, given->values[i]);
    }
    return true;
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

bool ctl_request_make(struct ctl_request *request, const struct resource *resource,
                      char *const *words, size_t count)
{
    struct given given = {.fields = resource->parameters};
    size_t len = 0;
    FILE *out;

    *request = (struct ctl_request){.method = resource->method};
    if (!take_words(request, &given, words, count))
        return false;
    out = open_memstream(&request->target, &len);
    CHECK(out != NULL);
    write_path(out, resource->path, &given);
    write_query(out, &given);
    CHECK(fclose(out) == 0);
    return make_body(request, &given);
}

void ctl_request_free(struct ctl_request *request)
{
    free(request->target); /* open_memstream()'s */
    json_decref(request->body);
}

void ctl_write_usage(const struct resource *resource, FILE *out)
{
    fputs(resource->command, out);
    for (const struct admin_field *f = resource->parameters; f != NULL && f->name != NULL; f++)
        fprintf(out, f->presence == ADMIN_REQUIRED ? " %s" : " [%s=...]", f->name);
}
