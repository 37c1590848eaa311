/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { OPT_WILL = OPTION_LONG };

static const struct option options[] = {
    {.id = 'p', .name = "port", .argument = "PORT", .help = "Port."},
    {.id = 't', .name = "topic", .argument = "TOPIC", .help = "Topic.", .flags = OPTION_REPEATABLE},
    {.id = 'q', .name = "qos", .argument = "QOS", .help = "QoS.", .choices = "0 1 2"},
    {.id = 'd', .name = "debug", .help = "Debug."},
    {.id = 'v', .name = "verbose", .help = "More.", .flags = OPTION_LAST_WINS},
    {.id = OPT_WILL, .name = "will", .argument = "TOPIC", .help = "Will."},
    {.id = 'x', .name = "secret", .help = "Not shown.", .flags = OPTION_HIDDEN},
    {0},
};
static const struct operand operands[] = {{.name = "WORD", .help = "A word."}, {0}};
static const struct exit_code exit_codes[] = {{EX_OK, "Fine."}, {0}};
static const struct command with_operands = {.name = "try",
                                             .synopsis = "[-p PORT] [WORD ...]",
                                             .description = "One.\n\nTwo.",
                                             .options = options,
                                             .operands = operands,
                                             .exit_codes = exit_codes};
static const struct command without_operands = {
    .name = "try", .synopsis = "", .description = "", .options = options, .exit_codes = exit_codes};

#define ARGS(...)                                                                                  \
    {                                                                                              \
        "try", __VA_ARGS__, NULL                                                                   \
    }

static int count(const char *const *argv)
{
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    return argc;
}

static struct options begin(const struct command *command, const char *const *argv)
{
    return options_begin(command, count(argv), (char **)argv);
}

/* What a walk prints to stderr, as text to free; *o is how it ended. */
static char *stderr_of(const struct command *command, const char *const *argv, struct options *o)
{
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    char *text = calloc(1, 4096);

    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    *o = begin(command, argv);
    while (options_next(o)) {
        if (o->id == 'p')
            options_number(o, 1, 65535);
    }
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    assert_true(fread(text, 1, 4095, file) < 4095);
    fclose(file);
    return text;
}

static void option_is_understood_in_all_four_spellings(void **state)
{
    const char *spellings[][4] = {ARGS("-p", "1883"), ARGS("-p1883"), ARGS("--port", "1883"),
                                  ARGS("--port=1883")};
    (void)state;

    for (size_t i = 0; i < 4; i++) {
        struct options o = begin(&with_operands, spellings[i]);
        assert_true(options_next(&o));
        assert_int_equal(o.id, 'p');
        assert_string_equal(o.value, "1883");
        assert_int_equal(options_number(&o, 1, 65535), 1883);
        assert_false(options_next(&o));
        assert_false(o.ended);
    }
}

static void letters_without_arguments_may_be_joined(void **state)
{
    const char *argv[] = ARGS("-dvp1");
    struct options o = begin(&with_operands, argv);
    (void)state;

    assert_true(options_next(&o) && o.id == 'd' && o.value == NULL);
    assert_true(options_next(&o) && o.id == 'v');
    assert_true(options_next(&o) && o.id == 'p');
    assert_string_equal(o.value, "1");
    assert_false(options_next(&o));
}

static void operands_may_stand_anywhere(void **state)
{
    const char *argv[] = ARGS("one", "-d", "-", "--", "-v");
    struct options o = begin(&with_operands, argv);
    (void)state;

    assert_true(options_next(&o) && o.id == OPTION_OPERAND);
    assert_string_equal(o.value, "one");
    assert_true(options_next(&o) && o.id == 'd');
    assert_true(options_next(&o));
    assert_string_equal(o.value, "-");
    assert_true(options_next(&o) && o.id == OPTION_OPERAND);
    assert_string_equal(o.value, "-v");
    assert_false(options_next(&o));
}

static void option_with_several_words_takes_them_one_by_one(void **state)
{
    const char *argv[] = ARGS("--will", "a", "-b", "c");
    struct options o = begin(&with_operands, argv);
    (void)state;

    assert_true(options_next(&o) && o.id == OPT_WILL);
    assert_string_equal(o.value, "a");
    assert_string_equal(options_word(&o), "-b");
    assert_string_equal(options_word(&o), "c");
    assert_false(options_next(&o));
    assert_false(o.ended);
}

static void empty_argument_is_an_argument(void **state)
{
    const char *argv[] = ARGS("--topic=", "-t", "");
    struct options o = begin(&with_operands, argv);
    (void)state;

    assert_true(options_next(&o));
    assert_string_equal(o.value, "");
    assert_true(options_next(&o));
    assert_string_equal(o.value, "");
    assert_false(options_next(&o));
}

struct mistake {
    const char *rule;
    const char *argv[5];
    const char *text; /* the first line on stderr */
};

static struct mistake mistakes[] = {
    {"unknown_name_gets_the_nearest", ARGS("--prot=1"),
     "skein try: unknown option '--prot'; did you mean --port?\n"},
    {"unknown_name_without_a_near_one", ARGS("--frobnicate"),
     "skein try: unknown option '--frobnicate'\n"},
    {"hidden_option_is_not_suggested", ARGS("--secre"), "skein try: unknown option '--secre'\n"},
    {"unknown_letter", ARGS("-Z"), "skein try: unknown option '-Z'\n"},
    {"unknown_letter_in_a_bundle", ARGS("-dZ"), "skein try: unknown option '-Z'\n"},
    {"missing_argument", ARGS("-p"), "skein try: --port needs PORT\n"},
    {"argument_where_none_belongs", ARGS("--debug=1"), "skein try: --debug takes no argument\n"},
    {"number_out_of_range", ARGS("-p", "0"),
     "skein try: --port: '0' is not a number from 1 to 65535\n"},
    {"number_that_is_none", ARGS("-p", "18x"),
     "skein try: --port: '18x' is not a number from 1 to 65535\n"},
    {"number_that_is_negative", ARGS("-p", "-1"),
     "skein try: --port: '-1' is not a number from 1 to 65535\n"},
    {"word_that_is_no_choice", ARGS("-q", "3"), "skein try: --qos: '3' is not one of: 0 1 2\n"},
    {"word_that_is_part_of_a_choice", ARGS("-q", ""),
     "skein try: --qos: '' is not one of: 0 1 2\n"},
    {"second_one_of_an_option_for_once", ARGS("-p1", "-p2"), "skein try: --port is given twice\n"},
};

static void mistake_is_named_and_ends_with_64(void **state)
{
    struct mistake *mistake = *state;
    struct options o;
    char *text = stderr_of(&with_operands, mistake->argv, &o);

    assert_memory_equal(text, mistake->text, strlen(mistake->text));
    assert_string_equal(text + strlen(mistake->text), "try 'skein try --help'\n");
    free(text);
    assert_true(o.ended);
    assert_int_equal(o.exit_code, EX_USAGE);
}

static void operand_is_refused_where_none_is_taken(void **state)
{
    const char *argv[] = ARGS("word");
    struct options o;
    char *text = stderr_of(&without_operands, argv, &o);
    (void)state;

    assert_string_equal(text, "skein try: unexpected word 'word'\ntry 'skein try --help'\n");
    free(text);
    assert_int_equal(o.exit_code, EX_USAGE);
}

static void repeatable_and_last_wins_may_come_twice(void **state)
{
    const char *argv[] = ARGS("-t1", "-t2", "-vv");
    struct options o = begin(&with_operands, argv);
    int found = 0;
    (void)state;

    while (options_next(&o))
        found++;
    assert_int_equal(found, 4);
    assert_false(o.ended);
}

static void decimal_takes_fractions_and_refuses_nonsense(void **state)
{
    const char *argv[] = ARGS("-t2.5", "-tnan");
    struct options o = begin(&with_operands, argv);
    (void)state;

    assert_true(options_next(&o));
    assert_true(options_decimal(&o, 0) == 2.5);
    assert_true(options_next(&o));
    options_decimal(&o, 0);
    assert_true(o.ended);
}

static void help_shows_every_option_but_hidden_ones(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    (void)state;

    command_print_help(&with_operands, out);
    fclose(out);

    assert_non_null(strstr(text, "usage: skein try [-p PORT] [WORD ...]\n\nOne.\n\nTwo.\n"));
    assert_non_null(strstr(text, "\n  -p, --port PORT         Port.\n"));
    assert_non_null(strstr(text, "\n      --will TOPIC        Will.\n"));
    assert_non_null(strstr(text, "\n  -h, --help              Print this page.\n"));
    assert_null(strstr(text, "secret"));
    free(text);
}

enum { MISTAKES = sizeof(mistakes) / sizeof(mistakes[0]) };

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(option_is_understood_in_all_four_spellings),
        cmocka_unit_test(letters_without_arguments_may_be_joined),
        cmocka_unit_test(operands_may_stand_anywhere),
        cmocka_unit_test(option_with_several_words_takes_them_one_by_one),
        cmocka_unit_test(empty_argument_is_an_argument),
        cmocka_unit_test(operand_is_refused_where_none_is_taken),
        cmocka_unit_test(repeatable_and_last_wins_may_come_twice),
        cmocka_unit_test(decimal_takes_fractions_and_refuses_nonsense),
        cmocka_unit_test(help_shows_every_option_but_hidden_ones),
    };
    enum { SINGLES = sizeof(singles) / sizeof(singles[0]) };
    static struct CMUnitTest tests[MISTAKES + SINGLES];

    for (size_t i = 0; i < MISTAKES; i++)
        tests[i] = (struct CMUnitTest){.name = mistakes[i].rule,
                                       .test_func = mistake_is_named_and_ends_with_64,
                                       .initial_state = &mistakes[i]};
    memcpy(tests + MISTAKES, singles, sizeof(singles));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
