/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static char written[64 * 1024];
static int saved_stderr, pipe_ends[2];

static void capture_start(void)
{
    fsync(STDERR_FILENO);
    assert_int_equal(pipe(pipe_ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
}

/* What was written to stderr since capture_start(), as one string. */
static const char *capture_end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_ends[1]);
    ssize_t len = read(pipe_ends[0], written, sizeof(written) - 1);
    close(pipe_ends[0]);
    written[len > 0 ? len : 0] = '\0';
    return written;
}

/* Logs one field and gives what stands behind the event. */
static const char *logged_value(struct bytes value)
{
    capture_start();
    LOG(LOG_ERROR, "test.event", log_bytes("k", value));
    const char *found = strstr(capture_end(), "test.event k=");
    assert_non_null(found);
    return found + strlen("test.event k=");
}

#define LOGGED(text) logged_value(bytes_of(text, sizeof(text) - 1))

static void log_line_is_time_level_event_and_fields(void **state)
{
    static const char pattern[] =
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"
        " warn conn\\.closed client=pump-7 code=-3 bytes=18446744073709551615\n$";
    regex_t regex;
    (void)state;
    capture_start();
    LOG(LOG_WARN, "conn.closed", log_text("client", "pump-7"), log_int("code", -3),
        log_uint("bytes", UINT64_MAX));
    const char *line = capture_end();
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    assert_int_equal(regexec(&regex, line, 0, NULL, 0), 0);
    regfree(&regex);
}

static void log_quotes_values_that_could_be_misread(void **state)
{
    (void)state;
    assert_string_equal(LOGGED("plain-1.2/x"), "plain-1.2/x\n");
    assert_string_equal(LOGGED(""), "\"\"\n");
    assert_string_equal(LOGGED("a b"), "\"a b\"\n");
    assert_string_equal(LOGGED("a=b"), "\"a=b\"\n");
    assert_string_equal(LOGGED("a\"b"), "\"a\\\"b\"\n");
    assert_string_equal(LOGGED("a\\b"), "\"a\\\\b\"\n");
}

static void log_lets_no_control_character_through(void **state)
{
    (void)state;
    assert_string_equal(LOGGED("a\nb"), "\"a\\x0ab\"\n");
    assert_string_equal(LOGGED("\x1b[31m"), "\"\\x1b[31m\"\n");
    assert_string_equal(LOGGED("a\0b"), "\"a\\x00b\"\n");
    assert_string_equal(LOGGED("\x7f"), "\"\\x7f\"\n");
    assert_string_equal(LOGGED("\xC2\x9B"), "\"\\xc2\\x9b\"\n"); /* U+009B, a C1 control */
    assert_string_equal(LOGGED("\xC2\xA0"), "\xC2\xA0\n");
}

static void log_writes_utf8_as_it_is_and_escapes_what_is_not(void **state)
{
    (void)state;
    assert_string_equal(LOGGED("Gr\xC3\xBC\xC3\x9F"
                               "e"),
                        "Gr\xC3\xBC\xC3\x9F"
                        "e\n");
    assert_string_equal(LOGGED("\xC3"), "\"\\xc3\"\n");
    assert_string_equal(LOGGED("\xFF\xC0\xAF"), "\"\\xff\\xc0\\xaf\"\n");
}

static void log_cuts_long_values(void **state)
{
    char text[300], expected[300];
    (void)state;
    memset(text, 'x', sizeof(text));
    snprintf(expected, sizeof(expected), "\"%.256s...\"\n", text);
    assert_string_equal(logged_value(bytes_of(text, 257)), expected);
    snprintf(expected, sizeof(expected), "%.256s\n", text);
    assert_string_equal(logged_value(bytes_of(text, 256)), expected);
}

static void log_line_with_the_longest_values_is_whole(void **state)
{
    struct log_field fields[20];
    uint8_t worst[256];
    (void)state;
    memset(worst, 1, sizeof(worst));
    for (int i = 0; i < 20; i++)
        fields[i] = log_bytes("key", bytes_of(worst, sizeof(worst)));
    capture_start();
    log_event(LOG_ERROR, "test.event", fields, 20);
    const char *line = capture_end();
    size_t count = 0;
    for (const char *at = line; (at = strstr(at, " key=\"")) != NULL; at++)
        count++;
    assert_int_equal(count, 16); /* and the others are left out */
    assert_string_equal(line + strlen(line) - 2, "\"\n");
}

static void log_writes_nothing_above_the_level(void **state)
{
    (void)state;
    capture_start();
    log_set_level(LOG_WARN);
    LOG(LOG_INFO, "test.event", log_int("k", 1));
    log_set_level(LOG_INFO);
    LOG(LOG_DEBUG, "test.event", log_int("k", 1));
    assert_string_equal(capture_end(), "");
}

static void log_level_has_four_names(void **state)
{
    enum log_level level = LOG_DEBUG;
    (void)state;
    assert_true(log_level_parse("error", &level));
    assert_int_equal(level, LOG_ERROR);
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse("Error", &level));
    assert_false(log_level_parse("", &level));
}

static void log_limit_lets_some_through_and_counts_the_others(void **state)
{
    struct log_limit limit = {0};
    uint64_t suppressed = 0;
    int passed = 0;
    (void)state;
    for (int i = 0; i < 1000; i++)
        passed += log_limit_pass(&limit, 3, &suppressed);
    assert_in_range(passed, 3, 6); /* the second may have changed meanwhile */
    assert_int_equal(atomic_load(&limit.suppressed) + suppressed, 1000 - passed);
}

static void log_limit_says_afterwards_how_many_were_left_out(void **state)
{
    struct log_limit limit = {0};
    uint64_t suppressed = 0;
    (void)state;
    atomic_store(&limit.suppressed, 7);
    assert_true(log_limit_pass(&limit, 1, &suppressed));
    assert_int_equal(suppressed, 7);
    assert_int_equal(atomic_load(&limit.suppressed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_line_is_time_level_event_and_fields),
        cmocka_unit_test(log_quotes_values_that_could_be_misread),
        cmocka_unit_test(log_lets_no_control_character_through),
        cmocka_unit_test(log_writes_utf8_as_it_is_and_escapes_what_is_not),
        cmocka_unit_test(log_cuts_long_values),
        cmocka_unit_test(log_line_with_the_longest_values_is_whole),
        cmocka_unit_test(log_writes_nothing_above_the_level),
        cmocka_unit_test(log_level_has_four_names),
        cmocka_unit_test(log_limit_lets_some_through_and_counts_the_others),
        cmocka_unit_test(log_limit_says_afterwards_how_many_were_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
