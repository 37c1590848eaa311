/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration is said in full: every message here is exact. */
#include "config/config.h"
#include "config/docs.h"
#include "config/schema.h"
#include "config/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static bool read_yaml(struct config *config, const char *yaml, struct config_error *error)
{
    return config_read_text(config, yaml, strlen(yaml), "skein.yaml", error);
}

/* ---- what is refused, and how it is said -------------------------------------------------------
 */

struct bad {
    const char *rule, *yaml, *text;
};

static const struct bad bads[] = {
    {"unknown_key_names_the_nearest", "limits:\n  conections: 5\n",
     "skein.yaml:2: limits.conections: unknown key; did you mean limits.connections?"},
    {"unknown_key_in_the_wrong_section_names_the_right_one", "connections: 5\n",
     "skein.yaml:1: connections: unknown key; did you mean limits.connections?"},
    {"unknown_key_that_resembles_nothing_is_only_that", "zzzzzzzz: 5\n",
     "skein.yaml:1: zzzzzzzz: unknown key"},
    {"unknown_section_names_the_nearest", "limts:\n  connections: 5\n",
     "skein.yaml:1: limts: unknown key; did you mean limits?"},
    {"dotted_key_is_not_a_path", "limits.connections: 5\n",
     "skein.yaml:1: unknown key 'limits.connections'"},
    {"key_that_is_a_list_is_refused", "[a, b]: 5\n", "skein.yaml:1: expected a key, got a list"},
    {"very_long_key_is_shown_cut",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: 1\n",
     "skein.yaml:1: unknown key "
     "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"},
    {"key_given_twice_names_both_lines", "workers: 1\nshards: 64\nworkers: 2\n",
     "skein.yaml:3: workers: given twice, first in line 1"},
    {"section_given_twice_names_both_lines", "queue:\nlog:\nqueue:\n",
     "skein.yaml:3: queue: given twice, first in line 1"},
    {"number_takes_no_word", "workers: many\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got 'many'"},
    {"number_above_its_range", "workers: 257\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got '257'"},
    {"number_below_its_range", "shards: 15\n",
     "skein.yaml:1: shards: expected a whole number from 16 to 4096, got '15'"},
    {"number_takes_no_sign", "workers: -1\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got '-1'"},
    {"number_takes_no_fraction", "workers: 1.0\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got '1.0'"},
    {"number_with_a_leading_zero_is_not_octal", "workers: 010\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got '010'"},
    {"number_of_more_than_64_bits", "workers: 18446744073709551616\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got '18446744073709551616'"},
    {"number_in_quotes_is_a_text", "workers: \"4\"\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got the text '4'"},
    {"number_takes_no_list", "workers: [4]\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got a list"},
    {"number_takes_no_mapping", "workers: {a: 4}\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got a mapping"},
    {"key_without_a_value", "workers:\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got nothing"},
    {"switch_takes_true_and_false_only", "allow_anonymous: yes\n",
     "skein.yaml:1: allow_anonymous: expected true or false, got 'yes'"},
    {"switch_in_quotes_is_a_text", "allow_anonymous: 'true'\n",
     "skein.yaml:1: allow_anonymous: expected true or false, got the text 'true'"},
    {"size_needs_a_known_unit", "limits:\n  packet_bytes: 1X\n",
     "skein.yaml:2: limits.packet_bytes: expected a size from 128 to 268435460, such as 65536, 64K "
     "or 16M, got '1X'"},
    {"size_that_overflows", "limits:\n  packet_bytes: 99999999999999T\n",
     "skein.yaml:2: limits.packet_bytes: expected a size from 128 to 268435460, such as 65536, 64K "
     "or 16M, got '99999999999999T'"},
    {"duration_needs_a_unit", "limits:\n  connect_timeout: 10\n",
     "skein.yaml:2: limits.connect_timeout: expected a duration from 100ms to 1h, such as 500ms, "
     "10s or 5m, got '10'"},
    {"duration_below_its_range", "limits:\n  connect_timeout: 99ms\n",
     "skein.yaml:2: limits.connect_timeout: expected a duration from 100ms to 1h, such as 500ms, "
     "10s or 5m, got '99ms'"},
    {"duration_in_seconds_takes_no_fraction_of_one", "broker:\n  sys_interval: 1500ms\n",
     "skein.yaml:2: broker.sys_interval: expected a duration from 0 to 1h in whole seconds, such "
     "as "
     "10s or 5m, got '1500ms'"},
    {"duration_names_the_word_that_stands_for_no_limit", "mqtt:\n  session_expiry_max: never\n",
     "skein.yaml:2: mqtt.session_expiry_max: expected a duration from 0 to 4294967294s in whole "
     "seconds, such as 10s or 5m, or unlimited, got 'never'"},
    {"choice_lists_its_words_and_the_nearest", "queue:\n  when_full: drop_newst\n",
     "skein.yaml:2: queue.when_full: expected one of drop_newest, drop_oldest, drop_qos0_first, "
     "got "
     "'drop_newst'; did you mean drop_newest?"},
    {"choice_without_a_nearest_word", "log:\n  level: loud\n",
     "skein.yaml:2: log.level: expected one of error, warn, info, debug, got 'loud'"},
    {"text_with_a_nul", "mqtt:\n  response_information: \"a\\0b\"\n",
     "skein.yaml:2: mqtt.response_information: expected a text of at most 255 bytes, got 'a?b'"},
    {"section_that_is_a_number", "limits: 5\n",
     "skein.yaml:1: limits: expected keys below it, got '5'"},
    {"section_that_is_a_list", "limits: []\n",
     "skein.yaml:1: limits: expected keys below it, got a list"},
    {"file_that_is_a_list", "- workers: 1\n",
     "skein.yaml:1: expected `key: value` lines, got a list"},
    {"file_that_is_a_word", "hello\n", "skein.yaml:1: expected `key: value` lines, got 'hello'"},
    {"second_document", "workers: 1\n---\nworkers: 2\n",
     "skein.yaml:2: expected one YAML document, got a second one"},
    {"anchor", "workers: &w 1\n", "skein.yaml:1: anchors and aliases are not supported"},
    {"alias", "limits: *w\n", "skein.yaml:1: anchors and aliases are not supported"},
    {"tag", "workers: !!int 1\n", "skein.yaml:1: tags are not supported"},
    {"syntax_error", "log: {level: info\n",
     "skein.yaml:2: not YAML: did not find expected ',' or '}' (while parsing a flow mapping)"},
    {"tab_indentation", "limits:\n\tconnections: 5\n",
     "skein.yaml:2: not YAML: found character that cannot start any token (while scanning for the "
     "next token)"},
    {"bytes_that_are_not_utf8", "workers: \xff\n",
     "skein.yaml:1: not YAML: invalid leading UTF-8 octet"},
    {"control_characters_are_not_shown", "workers: \"\\e[31m\"\n",
     "skein.yaml:1: workers: expected a whole number from 0 to 256, got the text '?[31m'"},

    {"control_characters_in_a_key_are_not_shown", "\"a\\nb\": 1\n",
     "skein.yaml:1: a?b: unknown key"},

    {"listeners_that_are_a_word", "listeners: all\n",
     "skein.yaml:1: listeners: expected a list of {address: HOST:PORT, transport: tcp or ws}, got "
     "'all'"},
    {"listeners_that_are_empty", "listeners: []\n",
     "skein.yaml:1: listeners: expected at least one entry"},
    {"listener_that_is_a_word", "listeners:\n  - 127.0.0.1:1883\n",
     "skein.yaml:2: listeners[0]: expected {address: HOST:PORT, transport: tcp or ws}, got "
     "'127.0.0.1:1883'"},
    {"listener_with_an_unknown_key", "listeners:\n  - adress: 127.0.0.1:1883\n",
     "skein.yaml:2: listeners[0]: unknown key 'adress'; did you mean address?"},
    {"listener_with_a_key_that_resembles_nothing", "listeners:\n  - tls: true\n",
     "skein.yaml:2: listeners[0]: unknown key 'tls'; expected address, transport, durability or "
     "proxy_protocol"},
    {"listener_without_an_address", "listeners:\n  - address: 127.0.0.1:1\n  - transport: ws\n",
     "skein.yaml:3: listeners[1]: address is missing: expected {address: HOST:PORT, transport: tcp "
     "or ws}"},
    {"listener_with_two_addresses",
     "listeners:\n  - address: 127.0.0.1:1\n    address: 127.0.0.1:2\n",
     "skein.yaml:3: listeners[0].address: given twice"},
    {"listener_with_an_unknown_transport",
     "listeners:\n  - address: 127.0.0.1:1\n    transport: tls\n",
     "skein.yaml:3: listeners[0].transport: expected one of tcp, ws, got 'tls'"},
    {"listener_with_an_unknown_proxy_protocol",
     "listeners:\n  - address: 127.0.0.1:1\n    proxy_protocol: v2\n",
     "skein.yaml:3: listeners[0].proxy_protocol: expected one of off, required, got 'v2'"},
    {"address_without_a_port", "listeners:\n  - address: localhost\n",
     "skein.yaml:2: listeners[0].address: expected HOST:PORT, such as 127.0.0.1:1883 or "
     "\"[::1]:1883\", got 'localhost'"},
    {"address_without_a_host", "listeners:\n  - address: :1883\n",
     "skein.yaml:2: listeners[0].address: expected a host before the port; all addresses are "
     "0.0.0.0 for IPv4 and \"[::]\" for IPv6, got ':1883'"},
    {"address_of_ipv6_without_brackets", "listeners:\n  - address: ::1:1883\n",
     "skein.yaml:2: listeners[0].address: an IPv6 address goes in brackets and quotes, such as "
     "\"[::1]:1883\", got '::1:1883'"},
    {"address_of_ipv6_without_quotes", "listeners:\n  - address: [::1]:1883\n",
     "skein.yaml:2: listeners[0].address: an IPv6 address goes in quotes, such as \"[::1]:1883\""},
    {"address_with_brackets_around_a_name", "listeners:\n  - address: \"[localhost]:1883\"\n",
     "skein.yaml:2: listeners[0].address: expected an IPv6 address in the brackets, such as "
     "\"[::1]:1883\", got '[localhost]:1883'"},
    {"address_with_a_port_too_large", "listeners:\n  - address: 127.0.0.1:65536\n",
     "skein.yaml:2: listeners[0].address: expected a port from 0 to 65535 behind the last colon, "
     "got '127.0.0.1:65536'"},
    {"address_with_a_word_for_a_port", "listeners:\n  - address: 127.0.0.1:mqtt\n",
     "skein.yaml:2: listeners[0].address: expected a port from 0 to 65535 behind the last colon, "
     "got '127.0.0.1:mqtt'"},
    {"address_with_an_ipv4_number_too_large", "listeners:\n  - address: 127.0.0.256:1883\n",
     "skein.yaml:2: listeners[0].address: expected a host name or an IP address before the port, "
     "got '127.0.0.256:1883'"},
    {"address_with_a_space", "listeners:\n  - address: \"my host:1883\"\n",
     "skein.yaml:2: listeners[0].address: expected a host name or an IP address before the port, "
     "got 'my host:1883'"},

    {"same_listener_twice", "listeners:\n  - address: 127.0.0.1:1\n  - address: 127.0.0.1:1\n",
     "skein.yaml:3: listeners: 127.0.0.1:1 is listed twice: entries 0 and 1"},
    {"same_listener_twice_whatever_the_transport",
     "listeners:\n  - address: 127.0.0.1:1\n  - {address: 127.0.0.1:1, transport: ws}\n",
     "skein.yaml:3: listeners: 127.0.0.1:1 is listed twice: entries 0 and 1"},
    {"same_listener_twice_by_address_and_by_name",
     "listeners:\n  - address: localhost:1\n  - address: 127.0.0.1:1\n",
     "skein.yaml:3: listeners: 127.0.0.1:1 is listed twice: entries 0 and 1"},
    {"same_listener_twice_in_two_spellings_of_ipv6",
     "listeners:\n  - address: \"[::1]:1\"\n  - address: \"[0:0:0::1]:1\"\n",
     "skein.yaml:3: listeners: [0:0:0::1]:1 is listed twice: entries 0 and 1"},
    {"listener_outside_loopback_needs_allow_anonymous", "listeners:\n  - address: 0.0.0.0:1883\n",
     "skein.yaml:2: listeners: 0.0.0.0:1883 can be reached from other machines and has no "
     "authentication; to let anybody in, set allow_anonymous: true"},
    {"listener_on_all_of_ipv6_needs_allow_anonymous",
     "workers: 1\nlisteners:\n  - address: \"[::]:1883\"\n",
     "skein.yaml:3: listeners: [::]:1883 can be reached from other machines and has no "
     "authentication; to let anybody in, set allow_anonymous: true"},
    {"listener_on_a_name_needs_allow_anonymous", "listeners:\n  - address: example.org:1883\n",
     "skein.yaml:2: listeners: example.org:1883 can be reached from other machines and has no "
     "authentication; to let anybody in, set allow_anonymous: true"},
};

static void bad_is_refused(void **state)
{
    const struct bad *bad = *state;
    struct config config;
    struct config_error error = {""};

    bool good = read_yaml(&config, bad->yaml, &error) && config_validate(&config, &error);

    assert_string_equal(error.text, bad->text);
    assert_false(good);
}

/* ---- --set -------------------------------------------------------------------------------------
 */

static const struct bad bad_sets[] = {
    {"set_without_a_value", "workers", "--set: expected KEY=VALUE, got 'workers'"},
    {"set_without_a_key", "=1", "--set: expected KEY=VALUE, got '=1'"},
    {"set_with_an_empty_value", "workers=", "--set: workers: expected a value behind the '='"},
    {"set_of_an_unknown_key", "limits.conections=1",
     "--set: limits.conections: unknown key; did you mean limits.connections?"},
    {"set_of_a_section", "limits=1",
     "--set: limits: expected one of its keys, such as limits.KEY=VALUE"},
    {"set_out_of_range", "workers=1000",
     "--set: workers: expected a whole number from 0 to 256, got '1000'"},
    {"set_of_a_bad_listener", "listeners=[{address: nowhere}]",
     "--set: listeners[0].address: expected HOST:PORT, such as 127.0.0.1:1883 or \"[::1]:1883\", "
     "got 'nowhere'"},
    {"set_of_two_documents", "workers=1\n--- 2",
     "--set: expected one YAML document, got a second one"},
    {"set_of_something_that_is_not_yaml", "workers=[",
     "--set: workers: expected a whole number from 0 to 256, got a list"},
};

static void bad_set_is_refused(void **state)
{
    const struct bad *bad = *state;
    struct config config;
    struct config_error error = {""};

    config_defaults(&config);
    bool good = config_set(&config, bad->yaml, &error);

    assert_string_equal(error.text, bad->text);
    assert_false(good);
}

static void set_wins_over_the_file(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_true(read_yaml(&config, "limits:\n  connections: 5\n", &error));
    assert_true(config_set(&config, "limits.connections=6", &error));
    assert_true(config_set(&config, "limits.connections=7", &error));

    assert_int_equal(config.limits.connections, 7);
}

static void set_replaces_the_listeners(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    config_defaults(&config);
    assert_true(config_set(
        &config, "listeners=[{address: 127.0.0.1:1884}, {address: '[::1]:0', transport: ws}]",
        &error));

    assert_int_equal(config.listener_count, 2);
    assert_string_equal(config.listeners[0].host, "127.0.0.1");
    assert_int_equal(config.listeners[0].port, 1884);
    assert_int_equal(config.listeners[0].transport, CONFIG_TCP);
    assert_string_equal(config.listeners[1].host, "::1");
    assert_int_equal(config.listeners[1].port, 0);
    assert_int_equal(config.listeners[1].transport, CONFIG_WS);
}

static void set_of_duplicate_listeners_is_blamed_on_set(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    config_defaults(&config);
    assert_true(config_set(&config, "listeners=[{address: a:1}, {address: A:1}]", &error));
    config.allow_anonymous = true;
    assert_false(config_validate(&config, &error));

    assert_string_equal(error.text, "--set: listeners: A:1 is listed twice: entries 0 and 1");
}

/* ---- what is accepted ---------------------------------------------------------------------------
 */

static void defaults_are_valid_and_on_loopback(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    config_defaults(&config);

    assert_true(config_validate(&config, &error));
    assert_int_equal(config.listener_count, 3);
    assert_false(config.allow_anonymous);
    assert_int_equal(config.listeners[2].port, 8083);
    assert_int_equal(config.listeners[2].transport, CONFIG_WS);
}

static void empty_file_is_all_defaults(void **state)
{
    static const char *const files[] = {
        "", "\n", "# nothing\n", "---\n", "~\n", "{}\n", "limits:\nlog: ~\nqueue: {}\n"};
    struct config defaults, config;
    struct config_error error;
    (void)state;

    config_defaults(&defaults);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        assert_true(read_yaml(&config, files[i], &error));
        assert_memory_equal(&config, &defaults, offsetof(struct config, origin));
    }
}

static void values_of_every_type_reach_their_fields(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_true(read_yaml(&config,
                          "workers: 4\n"
                          "allow_anonymous: true\n"
                          "log: {level: debug}\n"
                          "limits:\n"
                          "  connections: 1_000\n"
                          "  packet_bytes: 64KiB\n"
                          "  memory_bytes: 2g\n"
                          "  connect_timeout: 1500ms\n"
                          "  topic_bytes: 300\n"
                          "mqtt:\n"
                          "  qos_max: 1\n"
                          "  session_expiry_max: 7d\n"
                          "  response_information: replies/\n"
                          "  share_strategy: sticky_topic\n"
                          "queue: {when_full: drop_oldest, slow_subscriber: drop}\n",
                          &error));

    assert_int_equal(config.workers, 4);
    assert_true(config.allow_anonymous);
    assert_int_equal(config.log_level, LOG_DEBUG);
    assert_int_equal(config.limits.connections, 1000);
    assert_int_equal(config.limits.packet_bytes, 65536);
    assert_int_equal(config.limits.memory_bytes, 2ULL << 30);
    assert_int_equal(config.limits.connect_timeout_ms, 1500);
    assert_int_equal(config.limits.topic_bytes, 300);
    assert_int_equal(config.mqtt.qos_max, 1);
    assert_int_equal(config.mqtt.session_expiry_max_s, 7 * 86400);
    assert_string_equal(config.mqtt.response_information, "replies/");
    assert_int_equal(config.mqtt.share_strategy, SHARE_STICKY_TOPIC);
    assert_int_equal(config.queue.when_full, QUEUE_DROP_OLDEST);
    assert_int_equal(config.queue.slow_subscriber, SLOW_DROP);
}

static void unlimited_session_expiry_is_the_largest_number(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_true(read_yaml(&config, "mqtt: {session_expiry_max: 0}\n", &error));
    assert_int_equal(config.mqtt.session_expiry_max_s, 0);
    assert_true(config_set(&config, "mqtt.session_expiry_max=unlimited", &error));
    assert_true(config.mqtt.session_expiry_max_s == UINT32_MAX);
}

static void text_fits_up_to_255_bytes(void **state)
{
    struct config config;
    struct config_error error;
    char set[400];
    (void)state;

    config_defaults(&config);
    snprintf(set, sizeof(set), "mqtt.response_information=%0255d", 0);
    assert_true(config_set(&config, set, &error));
    assert_int_equal(strlen(config.mqtt.response_information), 255);
    snprintf(set, sizeof(set), "mqtt.response_information=%0256d", 0);
    assert_false(config_set(&config, set, &error));
}

static void listener_outside_loopback_starts_when_anybody_may_come_in(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_true(read_yaml(&config,
                          "allow_anonymous: true\n"
                          "listeners:\n  - address: 0.0.0.0:1883\n  - address: \"[::]:1883\"\n",
                          &error));
    assert_true(config_validate(&config, &error));
    assert_int_equal(config.listeners[1].line, 4);
}

static void loopback_is_known_in_all_its_spellings(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    config_defaults(&config);
    assert_true(config_set(&config,
                           "listeners=[{address: LocalHost:1}, {address: 127.9.9.9:1}, {address: "
                           "'[0:0::1]:2'}, {address: '[::ffff:127.0.0.1]:3'}]",
                           &error));
    assert_true(config_validate(&config, &error));
}

static void port_zero_may_be_listed_twice(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    config_defaults(&config);
    assert_true(
        config_set(&config, "listeners=[{address: 127.0.0.1:0}, {address: 127.0.0.1:0}]", &error));
    assert_true(config_validate(&config, &error));
}

static void listen_loopback_replaces_every_listener(void **state)
{
    struct config config;
    (void)state;

    config_defaults(&config);
    config_listen_loopback(&config, 4711);

    assert_int_equal(config.listener_count, 1);
    assert_string_equal(config.listeners[0].host, "127.0.0.1");
    assert_int_equal(config.listeners[0].port, 4711);
    assert_int_equal(config.listeners[0].transport, CONFIG_TCP);
}

/* ---- limits -------------------------------------------------------------------------------------
 */

static void at_most_64_listeners(void **state)
{
    char yaml[8192];
    size_t used = (size_t)snprintf(yaml, sizeof(yaml), "listeners:\n");
    struct config config;
    struct config_error error;
    (void)state;

    for (int i = 0; i < CONFIG_LISTENERS_MAX; i++)
        used += (size_t)snprintf(yaml + used, sizeof(yaml) - used, "  - address: 127.0.0.1:%d\n",
                                 2000 + i);
    assert_true(read_yaml(&config, yaml, &error) && config_validate(&config, &error));
    snprintf(yaml + used, sizeof(yaml) - used, "  - address: 127.0.0.1:9\n");
    assert_false(read_yaml(&config, yaml, &error));

    assert_string_equal(error.text, "skein.yaml:66: listeners: expected at most 64 entries");
}

static void file_of_more_than_a_mebibyte_is_refused(void **state)
{
    size_t len = CONFIG_FILE_MAX + 1;
    char *text = malloc(len);
    struct config config;
    struct config_error error;
    (void)state;

    assert_non_null(text);
    memset(text, '\n', len);
    assert_true(config_read_text(&config, text, len - 1, "skein.yaml", &error));
    assert_false(config_read_text(&config, text, len, "skein.yaml", &error));
    free(text);

    assert_string_equal(error.text, "skein.yaml: expected at most 1048576 bytes");
}

static void deep_nesting_ends_at_the_first_level_that_is_not_known(void **state)
{
    char yaml[20001];
    struct config config;
    struct config_error error;
    (void)state;

    memset(yaml, '[', sizeof(yaml) - 1);
    yaml[sizeof(yaml) - 1] = '\0';
    assert_false(read_yaml(&config, yaml, &error));
    assert_string_equal(error.text, "skein.yaml:1: expected `key: value` lines, got a list");
}

static void file_that_cannot_be_read_says_why(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_false(config_read_file(&config, "/nonexistent/skein.yaml", &error));
    assert_string_equal(error.text,
                        "/nonexistent/skein.yaml: cannot be read: No such file or directory");
    assert_false(config_read_file(&config, "/", &error));
    assert_string_equal(error.text, "/: cannot be read: Is a directory");
}

/* ---- documents made from the table
 * ---------------------------------------------------------------- */

static void default_file_uncommented_is_the_defaults(void **state)
{
    struct config defaults, config;
    struct config_error error;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    (void)state;

    config_write_default_file(out);
    fclose(out);
    assert_true(config_read_text(&config, text, len, "skein.yaml", &error));
    config_defaults(&defaults);
    assert_memory_equal(&config, &defaults, offsetof(struct config, origin));

    /* "# words" is a comment, "#key: value" and "#  - entry" are keys. */
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        bool words = text[i] == '#' && text[i + 1] == ' ' && text[i + 2] != ' ';
        if (text[i] != '#' || words)
            text[kept++] = text[i];
    }
    assert_true(config_read_text(&config, text, kept, "skein.yaml", &error));
    assert_string_equal(config.listeners_from, "skein.yaml");
    for (uint32_t i = 0; i < config.listener_count; i++)
        config.listeners[i].line = 0;
    memset(config.listeners_from, 0, sizeof(config.listeners_from));
    assert_memory_equal(&config, &defaults, offsetof(struct config, origin));
    free(text);
}

static void every_key_has_a_default_in_its_range_and_a_doc(void **state)
{
    struct config config;
    char expected[CONFIG_EXPECTED_MAX];
    (void)state;

    config_defaults(&config);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        size_t doc_len = strlen(key->doc);
        assert_true(doc_len > 10 && key->doc[doc_len - 1] == '.');
        assert_true(strlen(config_value_expected(key, expected, sizeof(expected))) > 0);
        assert_true(strlen(expected) < sizeof(expected) - 1);
        assert_non_null(key->since);
        if (key->type == CONFIG_INT || key->type == CONFIG_SIZE || key->type == CONFIG_DURATION) {
            uint64_t value = config_value_number(&config, key);
            bool worded = key->word != NULL && value == key->word_value;
            assert_true(worded || (value >= key->min && value <= key->max));
            assert_true(key->width == 8 || key->max >> (8 * key->width) == 0);
        }
    }
}

enum { BADS = sizeof(bads) / sizeof(bads[0]), BAD_SETS = sizeof(bad_sets) / sizeof(bad_sets[0]) };

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(set_wins_over_the_file),
        cmocka_unit_test(set_replaces_the_listeners),
        cmocka_unit_test(set_of_duplicate_listeners_is_blamed_on_set),
        cmocka_unit_test(defaults_are_valid_and_on_loopback),
        cmocka_unit_test(empty_file_is_all_defaults),
        cmocka_unit_test(values_of_every_type_reach_their_fields),
        cmocka_unit_test(unlimited_session_expiry_is_the_largest_number),
        cmocka_unit_test(text_fits_up_to_255_bytes),
        cmocka_unit_test(listener_outside_loopback_starts_when_anybody_may_come_in),
        cmocka_unit_test(loopback_is_known_in_all_its_spellings),
        cmocka_unit_test(port_zero_may_be_listed_twice),
        cmocka_unit_test(listen_loopback_replaces_every_listener),
        cmocka_unit_test(at_most_64_listeners),
        cmocka_unit_test(file_of_more_than_a_mebibyte_is_refused),
        cmocka_unit_test(deep_nesting_ends_at_the_first_level_that_is_not_known),
        cmocka_unit_test(file_that_cannot_be_read_says_why),
        cmocka_unit_test(default_file_uncommented_is_the_defaults),
        cmocka_unit_test(every_key_has_a_default_in_its_range_and_a_doc),
    };
    enum { SINGLES = sizeof(singles) / sizeof(singles[0]) };
    static struct CMUnitTest tests[BADS + BAD_SETS + SINGLES];

    for (size_t i = 0; i < BADS; i++)
        tests[i] = (struct CMUnitTest){
            .name = bads[i].rule, .test_func = bad_is_refused, .initial_state = (void *)&bads[i]};
    for (size_t i = 0; i < BAD_SETS; i++)
        tests[BADS + i] = (struct CMUnitTest){.name = bad_sets[i].rule,
                                              .test_func = bad_set_is_refused,
                                              .initial_state = (void *)&bad_sets[i]};
    memcpy(tests + BADS + BAD_SETS, singles, sizeof(singles));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
