/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table per subcommand says what it takes; parsing, --help, the man pages, the reference and
 * the completion scripts are made from it. A subcommand is one file with one `const struct
 * command`, listed in commands.c. --help is added by itself (and -h where the table has no other
 * use for it).
 *
 * Understood: -p 1883, -p1883, --port 1883, --port=1883, -dv for -d -v, "--" before operands,
 * operands anywhere. An error is printed to stderr with the nearest name and ends the walk with
 * EX_USAGE.
 *
 *     struct options o = options_begin(&command_pub, argc, argv);
 *     while (options_next(&o)) {
 *         switch (o.id) {
 *         case 'p': port = (uint16_t)options_number(&o, 1, UINT16_MAX); break;
 *         case OPT_WILL_TOPIC: will_topic = o.value; break;
 *         case OPTION_OPERAND: options_fail(&o, "no operand is expected: '%s'", o.value); break;
 *         }
 *     }
 *     if (o.ended)
 *         return o.exit_code;
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sysexits.h>

enum {
    OPTION_OPERAND = 1, /* id of a word that belongs to no option */
    OPTION_LONG = 256,  /* ids of options without a letter start here */
};

enum option_flags {
    OPTION_ONCE = 0,        /* a second one is an error */
    OPTION_REPEATABLE = 1,  /* every one counts */
    OPTION_LAST_WINS = 2,   /* a second one replaces the first */
    OPTION_HIDDEN = 4,      /* parsed, not shown */
    OPTION_FILE = 8,        /* the argument is a file or folder: for completion */
    OPTION_CONFIG_KEY = 16, /* the argument starts with a key of the configuration: the same */
};

struct option {
    int id;           /* the letter, or OPTION_LONG + n; 0 ends a table */
    const char *name; /* long name without dashes, never NULL */
    const char *
        argument; /* "PORT"; NULL: takes none. The parser takes one word, options_word() the next */
    const char *help;    /* one or two sentences, with the default */
    unsigned flags;      /* enum option_flags */
    const char *choices; /* "0 1 2": the only arguments accepted; NULL: any */
};

/* What stands on the command line without a dash. */
struct operand {
    const char *name; /* "SCENARIO"; NULL ends a table */
    const char *help;
    const char *choices; /* "fan-in fan-out": for help and completion; NULL: any */
};

struct exit_code {
    int code;
    const char *meaning; /* NULL ends a table */
};

struct example {
    const char *line; /* "skein pub -t hello -m hi"; NULL ends a table */
    const char *what; /* "Publish one message." */
};

struct command {
    const char *name;        /* "pub" */
    const char *summary;     /* "publish messages": lower case, no full stop, for lists */
    const char *synopsis;    /* "[-h HOST] [-p PORT] -t TOPIC (-m TEXT | -f FILE | -l)" */
    const char *description; /* paragraphs of plain text, divided by blank lines */
    const struct option *options;
    const struct operand *operands; /* NULL: takes none, and the parser refuses them */
    const struct exit_code *exit_codes;
    const struct example *examples;    /* may be NULL */
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand; gives the exit code */
    bool hidden;                       /* not shown in lists and completion */
};

/* A walk over the arguments. Borrows command and argv. */
struct options {
    int id; /* of the option just found, or OPTION_OPERAND */
    const char
        *value; /* its argument, or the operand; NULL when it takes none. Borrowed from argv */
    const struct option *option; /* NULL for an operand */

    bool ended;    /* help was printed or something is wrong: return exit_code */
    int exit_code; /* meaningful when ended */

    const struct command *command;
    int argc, next;
    char **argv;
    const char *bundle; /* rest of "-dv" */
    bool operands_only; /* after "--" */
    uint64_t seen;      /* options of the table (at most 64) found so far */
};

struct options options_begin(const struct command *command, int argc, char **argv);

/* Finds the next option or operand; false at the end, after --help and after an error. */
bool options_next(struct options *o);

/* Gives one more word for the option just found (mosquitto's -D takes three); fails the walk when
 * there is none, and then gives "". */
const char *options_word(struct options *o);

/* The value as a decimal number min..max; fails the walk when it is not, and then gives min. */
uint64_t options_number(struct options *o, uint64_t min, uint64_t max);

/* The value as a fraction >= min, as "2.5"; fails the walk when it is not, and then gives min. */
double options_decimal(struct options *o, double min);

/* Prints "skein pub: " and the message to stderr, and ends the walk with EX_USAGE. The walk may
 * already be over: what is missing can be said this way too. */
void options_fail(struct options *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the page that --help prints. */
void command_print_help(const struct command *command, FILE *out);

#endif
