/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a command line. Everything it knows comes from the option table of the subcommand;
 * how a command is described to people is in help.c.
 */
#include "cli/options.h"

#include "base/check.h"
#include "config/nearest.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN_MAX = 64 };

static const struct option option_help = {
    .id = OPTION_LONG - 1, .name = "help", .help = "Print this page."};

struct options options_begin(const struct command *command, int argc, char **argv)
{
    size_t count = 0;

    while (command->options[count].id != 0)
        count++;
    CHECK(count <= SEEN_MAX);
    return (struct options){.command = command, .argc = argc, .argv = argv, .next = 1};
}

static void end_walk(struct options *o, int exit_code)
{
    o->ended = true;
    o->exit_code = exit_code;
}

void options_fail(struct options *o, const char *format, ...)
{
    va_list args;

    if (o->ended)
        return;
    fprintf(stderr, "skein %s: ", o->command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\ntry 'skein %s --help'\n", o->command->name);
    end_walk(o, EX_USAGE);
}

static const struct option *find_letter(const struct command *command, char letter)
{
    for (const struct option *option = command->options; option->id != 0; option++)
        if (option->id == letter)
            return option;
    return letter == 'h' ? &option_help : NULL;
}

static const struct option *find_name(const struct command *command, const char *name, size_t len)
{
    for (const struct option *option = command->options; option->id != 0; option++)
        if (strlen(option->name) == len && memcmp(option->name, name, len) == 0)
            return option;
    return len == 4 && memcmp(name, "help", 4) == 0 ? &option_help : NULL;
}

static void fail_unknown_name(struct options *o, const char *name, size_t len)
{
    char word[NEAREST_WORD_MAX + 2];
    struct nearest nearest;

    snprintf(word, sizeof(word), "%.*s", (int)len, name);
    nearest = nearest_begin(word);
    for (const struct option *option = o->command->options; option->id != 0; option++)
        if (!(option->flags & OPTION_HIDDEN))
            nearest_offer(&nearest, option->name, option->name);
    const char *best = nearest_get(&nearest);
    if (best != NULL)
        options_fail(o, "unknown option '--%.*s'; did you mean --%s?", (int)len, name, best);
    else
        options_fail(o, "unknown option '--%.*s'", (int)len, name);
}

/* Is `word` one of the words of "a b c"? */
static bool choices_have(const char *choices, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = choices; *at != '\0';) {
        size_t span = strcspn(at, " ");
        if (span == len && memcmp(at, word, len) == 0)
            return true;
        at += span;
        at += strspn(at, " ");
    }
    return false;
}

static void check_choice(struct options *o)
{
    const struct option *option = o->option;

    if (option->choices != NULL && !choices_have(option->choices, o->value))
        options_fail(o, "--%s: '%s' is not one of: %s", option->name, o->value, option->choices);
}

/* Notes that the option was found; a second OPTION_ONCE fails. */
static void mark_seen(struct options *o, const struct option *option)
{
    uint64_t bit = 1ULL << (option - o->command->options);

    if ((o->seen & bit) && !(option->flags & (OPTION_REPEATABLE | OPTION_LAST_WINS)))
        options_fail(o, "--%s is given twice", option->name);
    o->seen |= bit;
}

/* Goes on with `option`, whose argument starts at `attached` when that is not NULL. */
static bool take_option(struct options *o, const struct option *option, const char *attached)
{
    if (option == &option_help) {
        command_print_help(o->command, stdout);
        end_walk(o, EX_OK);
        return false;
    }
    o->id = option->id;
    o->option = option;
    o->value = NULL;
    mark_seen(o, option);
    if (option->argument != NULL && !o->ended) {
        o->value = attached != NULL ? attached : options_word(o);
        if (!o->ended)
            check_choice(o);
    }
    return !o->ended;
}

static bool take_long(struct options *o, const char *name)
{
    size_t len = strcspn(name, "=");
    const char *attached = name[len] == '=' ? name + len + 1 : NULL;
    const struct option *option = find_name(o->command, name, len);

    if (option == NULL) {
        fail_unknown_name(o, name, len);
        return false;
    }
    if (attached != NULL && option->argument == NULL) {
        options_fail(o, "--%s takes no argument", option->name);
        return false;
    }
    return take_option(o, option, attached);
}

/* `at` points at a letter of "-dv" or "-p1883". */
static bool take_letter(struct options *o, const char *at)
{
    const struct option *option = find_letter(o->command, *at);
    const char *rest = at[1] != '\0' ? at + 1 : NULL;

    o->bundle = NULL;
    if (option == NULL) {
        options_fail(o, "unknown option '-%c'", *at);
        return false;
    }
    if (option->argument == NULL) {
        o->bundle = rest;
        rest = NULL;
    }
    return take_option(o, option, rest);
}

static bool take_operand(struct options *o, const char *word)
{
    if (o->command->operands == NULL) {
        options_fail(o, "unexpected word '%s'", word);
        return false;
    }
    o->id = OPTION_OPERAND;
    o->option = NULL;
    o->value = word;
    return true;
}

bool options_next(struct options *o)
{
    if (o->ended)
        return false;
    if (o->bundle != NULL)
        return take_letter(o, o->bundle);
    while (o->next < o->argc) {
        const char *word = o->argv[o->next++];
        if (o->operands_only || word[0] != '-' || word[1] == '\0')
            return take_operand(o, word);
        if (word[1] != '-')
            return take_letter(o, word + 1);
        if (word[2] != '\0')
            return take_long(o, word + 2);
        o->operands_only = true;
    }
    return false;
}

const char *options_word(struct options *o)
{
    CHECK(o->option != NULL && o->option->argument != NULL);
    if (o->next < o->argc && o->bundle == NULL)
        return o->argv[o->next++];
    options_fail(o, "--%s needs %s", o->option->name, o->option->argument);
    return "";
}

/* What a message calls the value just found. */
static const char *value_name(const struct options *o, char *out, size_t room)
{
    if (o->option != NULL)
        snprintf(out, room, "--%s", o->option->name);
    else
        snprintf(out, room, "operand");
    return out;
}

uint64_t options_number(struct options *o, uint64_t min, uint64_t max)
{
    char name[NEAREST_WORD_MAX];
    char *end = NULL;

    CHECK(o->value != NULL);
    errno = 0;
    uint64_t number = strtoull(o->value, &end, 10);
    if (o->value[0] < '0' || o->value[0] > '9' || *end != '\0' || errno != 0 || number < min ||
        number > max) {
        options_fail(o, "%s: '%s' is not a number from %llu to %llu",
                     value_name(o, name, sizeof(name)), o->value, (unsigned long long)min,
                     (unsigned long long)max);
        return min;
    }
    return number;
}

double options_decimal(struct options *o, double min)
{
    char name[NEAREST_WORD_MAX];
    char *end = NULL;

    CHECK(o->value != NULL);
    double number = strtod(o->value, &end);
    if (o->value[0] == '\0' || *end != '\0' || !isfinite(number) || number < min) {
        options_fail(o, "%s: '%s' is not a number of at least %g",
                     value_name(o, name, sizeof(name)), o->value, min);
        return min;
    }
    return number;
}
