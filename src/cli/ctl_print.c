/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ctl_print.h"

#include "base/check.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 32, GAP = 2 };

/* ---- one value ---------------------------------------------------------------------------------
 */

/* Writes text as it is but for control characters; gives how many columns it takes. */
static size_t write_shown(FILE *out, const char *text)
{
    size_t columns = 0;

    while (*text != '\0') {
        size_t size = utf8_character_size(bytes_of_str(text));
        unsigned char first = (unsigned char)*text;
        bool control = first < 0x20 || first == 0x7F || size == 0 ||
                       (first == 0xC2 && (unsigned char)text[1] < 0xA0);
        if (control) {
            for (size_t i = 0; i < (size == 0 ? 1 : size); i++) {
                fprintf(out, "\\x%02X", (unsigned char)text[i]);
                columns += 4;
            }
        } else {
            fwrite(text, 1, size, out);
            columns++;
        }
        text += size == 0 ? 1 : size;
    }
    return columns;
}

static size_t write_number(FILE *out, const json_t *value)
{
    double number = json_number_value(value);
    int len;

    if (json_is_integer(value))
        len = fprintf(out, "%lld", (long long)json_integer_value(value));
    else if (number == floor(number) && fabs(number) < 1e15)
        len = fprintf(out, "%.0f", number);
    else
        len = fprintf(out, "%g", number);
    return len < 0 ? 0 : (size_t)len;
}

/* Gives how many columns it takes. NULL: nothing there. */
static size_t write_value(FILE *out, const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return write_shown(out, "-");
    if (json_is_string(value))
        return write_shown(out, json_string_value(value));
    if (json_is_boolean(value))
        return write_shown(out, json_is_true(value) ? "yes" : "no");
    if (json_is_number(value))
        return write_number(out, value);
    char *text = json_dumps(value, JSON_COMPACT);
    size_t columns = text == NULL ? 0 : write_shown(out, text);
    free(text); /* jansson's */
    return columns;
}

static size_t width(const json_t *value)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    CHECK(out != NULL);
    size_t columns = write_value(out, value);
    fclose(out);
    free(text); /* open_memstream()'s */
    return columns;
}

/* ---- a table -----------------------------------------------------------------------------------
 */

struct column {
    const char *name;
    size_t width;
};

/* The names of all members, in the order in which they first come. */
static size_t find_columns(const json_t *rows, struct column *columns)
{
    size_t count = 0;
    size_t i;
    json_t *row;
    const char *name;
    json_t *value;

    json_array_foreach(rows, i, row)
    {
        json_object_foreach(row, name, value)
        {
            size_t at = 0;
            while (at < count && strcmp(columns[at].name, name) != 0)
                at++;
            if (at == COLUMNS_MAX)
                continue;
            if (at == count)
                columns[count++] = (struct column){name, strlen(name)};
            size_t needed = width(value);
            if (needed > columns[at].width)
                columns[at].width = needed;
        }
    }
    return count;
}

static void pad(FILE *out, size_t have, size_t want)
{
    fprintf(out, "%*s", have < want ? (int)(want - have) : 0, "");
}

static void print_table(const json_t *rows, FILE *out)
{
    struct column columns[COLUMNS_MAX];
    size_t count = find_columns(rows, columns);
    size_t i;
    json_t *row;

    for (size_t c = 0; c < count; c++) {
        size_t used = write_shown(out, columns[c].name);
        pad(out, used, c + 1 < count ? columns[c].width + GAP : 0);
    }
    if (count > 0)
        fputc('\n', out);
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < count; c++) {
            size_t used = write_value(out, json_object_get(row, columns[c].name));
            pad(out, used, c + 1 < count ? columns[c].width + GAP : 0);
        }
        fputc('\n', out);
    }
}

/* ---- an object ---------------------------------------------------------------------------------
 */

static bool is_table(const json_t *value)
{
    return json_is_array(value) &&
           (json_array_size(value) == 0 || json_is_object(json_array_get(value, 0)));
}

/* Members that are neither objects nor tables. */
static void print_members(json_t *object, FILE *out)
{
    size_t widest = 0;
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        if (!json_is_object(value) && !is_table(value) && strlen(name) > widest)
            widest = strlen(name);
    }
    json_object_foreach(object, name, value)
    {
        if (json_is_object(value) || is_table(value))
            continue;
        pad(out, write_shown(out, name), widest + GAP);
        write_value(out, value);
        fputc('\n', out);
    }
}

void ctl_print(const json_t *answer, FILE *out)
{
    json_t *object = (json_t *)(uintptr_t)answer; /* jansson's iterators are not const */
    bool first = true;
    const char *name;
    json_t *value;

    print_members(object, out);
    json_object_foreach(object, name, value)
    {
        if (!json_is_object(value) && !is_table(value)) {
            first = false;
            continue;
        }
        if (json_object_size(value) + json_array_size(value) == 0)
            continue;
        if (!first)
            fputc('\n', out);
        first = false;
        if (json_is_object(value))
            print_members(value, out);
        else
            print_table(value, out);
    }
}
