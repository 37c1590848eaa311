/* SPDX-License-Identifier: Apache-2.0 */
/* The section `cluster`: what is refused and how it is said, what its defaults mean, and that
 * nothing ever shows the secret. */
#include "config/cluster.h"
#include "config/docs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "0123456789abcdef"

static bool read_valid(struct config *config, const char *yaml, struct config_error *error)
{
    return config_read_text(config, yaml, strlen(yaml), "skein.yaml", error) &&
           config_validate(config, error);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

struct bad {
    const char *rule, *yaml, *text;
};

static const struct bad bads[] = {
    {"name_with_a_dot", "cluster:\n  name: my.cluster\n",
     "skein.yaml:2: cluster.name: expected at most 63 letters, digits, '-' and '_', got "
     "'my.cluster'"},
    {"name_with_a_wildcard", "cluster: {name: 'a>'}\n",
     "skein.yaml:1: cluster.name: expected at most 63 letters, digits, '-' and '_', got 'a>'"},
    {"name_with_a_space", "cluster: {name: a b}\n",
     "skein.yaml:1: cluster.name: expected at most 63 letters, digits, '-' and '_', got 'a b'"},
    {"node_with_a_dot", "cluster:\n  name: a\n  node: n1.example.org\n",
     "skein.yaml:3: cluster.node: expected at most 63 letters, digits, '-' and '_', got "
     "'n1.example.org'"},
    {"node_of_64_bytes",
     "cluster:\n  node: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
     "skein.yaml:2: cluster.node: expected at most 63 letters, digits, '-' and '_', got "
     "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"},
    {"listen_without_a_port", "cluster:\n  listen: 127.0.0.1\n",
     "skein.yaml:2: cluster.listen: expected HOST:PORT with a port from 1 to 65535, such as "
     "127.0.0.1:7883, got '127.0.0.1'"},
    {"listen_on_a_port_that_others_cannot_know", "cluster:\n  listen: 127.0.0.1:0\n",
     "skein.yaml:2: cluster.listen: expected HOST:PORT with a port from 1 to 65535, such as "
     "127.0.0.1:7883, got '127.0.0.1:0'"},
    {"listen_that_is_empty", "cluster:\n  listen: ''\n",
     "skein.yaml:2: cluster.listen: expected HOST:PORT with a port from 1 to 65535, such as "
     "127.0.0.1:7883, got ''"},
    {"advertise_that_is_no_address", "cluster:\n  advertise: a b:1\n",
     "skein.yaml:2: cluster.advertise: expected HOST:PORT with a port from 1 to 65535, such as "
     "127.0.0.1:7883, got 'a b:1'"},
    {"addresses_that_are_one", "cluster:\n  addresses: n2\n",
     "skein.yaml:2: cluster.addresses: expected a list of HOST or HOST:PORT, got 'n2'"},
    {"address_with_a_bad_port", "cluster:\n  addresses:\n    - n2\n    - n3:70000\n",
     "skein.yaml:4: cluster.addresses[1]: expected a port from 0 to 65535 behind the last colon, "
     "got 'n3:70000'"},
    {"address_with_port_0", "cluster: {addresses: [\"n2:0\"]}\n",
     "skein.yaml:1: cluster.addresses[0]: expected HOST or HOST:PORT, got 'n2:0'"},
    {"address_that_is_no_name", "cluster: {addresses: [n_2/x]}\n",
     "skein.yaml:1: cluster.addresses[0]: expected HOST or HOST:PORT, got 'n_2/x'"},
    {"address_that_is_a_list", "cluster: {addresses: [[n2]]}\n",
     "skein.yaml:1: cluster.addresses[0]: expected HOST or HOST:PORT, got a list"},
    {"weight_of_0", "cluster: {weight: 0}\n",
     "skein.yaml:1: cluster.weight: expected a whole number from 1 to 1000, got '0'"},
    {"role_that_is_unknown", "cluster: {role: activ}\n",
     "skein.yaml:1: cluster.role: expected one of active, standby, got 'activ'; did you mean "
     "active?"},
    {"engine_that_is_unknown", "cluster: {engine: etcd}\n",
     "skein.yaml:1: cluster.engine: expected one of managed, external, got 'etcd'"},

    {"listen_outside_loopback_needs_a_secret",
     "cluster:\n  name: a\n  node: n1\n  listen: 192.0.2.1:7883\n",
     "skein.yaml:4: cluster.listen: an address outside loopback needs a cluster.secret, which is "
     "not set"},
    {"advertise_outside_loopback_needs_a_secret",
     "cluster:\n  name: a\n  node: n1\n  advertise: n1.example.org:7883\n",
     "skein.yaml:4: cluster.advertise: an address outside loopback needs a cluster.secret, which "
     "is not set"},
    {"address_outside_loopback_needs_a_secret",
     "cluster:\n  name: a\n  node: n1\n  addresses: [127.0.0.1, n2]\n",
     "skein.yaml:4: cluster.addresses: an address outside loopback needs a cluster.secret, which "
     "is not set"},
    {"secret_that_is_short", "cluster:\n  name: a\n  node: n1\n  secret: hunter2\n",
     "skein.yaml:4: cluster.secret: expected at least 16 bytes"},
    {"secret_in_a_file_that_is_not_there",
     "cluster:\n  name: a\n  node: n1\n  secret: file:/nonexistent/s\n",
     "skein.yaml:4: cluster.secret: /nonexistent/s cannot be used: No such file or directory"},
    {"listen_on_all_addresses_needs_one_to_advertise",
     "cluster:\n  name: a\n  node: n1\n  listen: 0.0.0.0:7883\n  secret: " SECRET "\n",
     "skein.yaml:4: cluster.listen: 0.0.0.0 is no address that others can use; set "
     "cluster.advertise"},
    {"listen_on_all_of_ipv6_needs_one_to_advertise",
     "cluster:\n  name: a\n  node: n1\n  listen: \"[::]:7883\"\n  secret: " SECRET "\n",
     "skein.yaml:4: cluster.listen: :: is no address that others can use; set cluster.advertise"},
    {"external_engine_without_urls", "cluster:\n  name: a\n  node: n1\n  engine: external\n",
     "skein.yaml:4: cluster.engine: external needs cluster.engine_urls"},
    {"urls_of_a_managed_engine", "cluster:\n  name: a\n  node: n1\n  engine_urls: [nats://h]\n",
     "skein.yaml:4: cluster.engine_urls: expected none with engine: managed; set cluster.engine: "
     "external"},
    {"port_without_room_for_the_engine", "cluster: {name: a, node: n, listen: 127.0.0.1:64600}\n",
     "skein.yaml:1: cluster.listen: port 64600 leaves no port for the engine; set "
     "cluster.engine_port"},
    {"port_without_room_for_routes", "cluster: {name: a, node: n, listen: 127.0.0.1:64000}\n",
     "skein.yaml:1: cluster.listen: port 64000 leaves no port for the engine's routes; set "
     "cluster.engine_route_port"},
    {"engine_on_the_port_of_links", "cluster: {name: a, node: n, engine_port: 7883}\n",
     "skein.yaml:1: cluster.engine_port: port 7883 is used twice"},
    {"engine_on_the_port_of_routes", "cluster: {name: a, node: n, engine_port: 9883}\n",
     "skein.yaml:1: cluster.engine_port: port 9883 is used twice"},
    {"routes_on_the_port_of_links", "cluster: {name: a, node: n, engine_route_port: 7883}\n",
     "skein.yaml:1: cluster.engine_route_port: port 7883 is used twice"},
};

static void bad_is_refused(void **state)
{
    const struct bad *bad = *state;
    struct config config;
    struct config_error error = {""};

    bool good = read_valid(&config, bad->yaml, &error);

    assert_string_equal(error.text, bad->text);
    assert_false(good);
}

static void rule_broken_by_set_is_blamed_on_set(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_true(read_valid(&config, "cluster:\n  name: a\n  node: n1\n", &error));
    assert_true(config_set(&config, "cluster.listen=192.0.2.1:7883", &error));
    assert_false(config_validate(&config, &error));

    assert_string_equal(error.text, "--set: cluster.listen: an address outside loopback needs a "
                                    "cluster.secret, which is not set");
}

static void without_a_name_nothing_else_counts(void **state)
{
    struct config config;
    struct config_error error;
    (void)state;

    assert_true(read_valid(&config, "cluster: {listen: 192.0.2.1:7883, engine: external}", &error));
    assert_false(cluster_configured(&config));
}

/* ---- what is never shown -----------------------------------------------------------------------
 */

static void secret_is_never_in_a_message(void **state)
{
    static const char *const files[] = {
        "cluster:\n  name: a\n  node: n1\n  secret: hunter2\n",
        "cluster:\n  secret: \"hunter2\\0\"\n",
        "cluster:\n  secret: [hunter2]\n",
        "cluster:\n  secret: {hunter2: 1}\n",
        "cluster:\n  engine_urls: [\"http://me:hunter2@host\"]\n",
        "cluster:\n  engine_urls: [\"nats://me:hunter2@ho st\"]\n",
        "cluster:\n  engine_urls: nats://me:hunter2@host\n",
        "cluster:\n  name: a\n  node: n1\n  engine_urls: [\"nats://me:hunter2@host\"]\n",
    };
    struct config config;
    (void)state;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct config_error error = {""};
        assert_false(read_valid(&config, files[i], &error));
        assert_null(strstr(error.text, "hunter2"));
        assert_non_null(strstr(error.text, "skein.yaml:"));
    }
}

static void documents_hold_no_secret(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    (void)state;

    config_write_default_file(out);
    config_write_reference(out);
    fclose(out);
    assert_non_null(strstr(text, "#secret: \"\"\n"));
    assert_non_null(strstr(text, "Under construction"));
    free(text);
}

/* ---- the secret in a file ----------------------------------------------------------------------
 */

struct secret_file {
    char path[64];
    struct config config;
};

static struct secret_file file_with(const char *text, size_t len, mode_t mode)
{
    struct secret_file file = {.path = "/tmp/skein-secret-XXXXXX"};
    struct config_error error;
    char set[128];
    int fd = mkstemp(file.path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    config_defaults(&file.config);
    snprintf(set, sizeof(set), "cluster.secret=file:%s", file.path);
    assert_true(config_set(&file.config, set, &error));
    return file;
}

static void secret_in_a_file_loses_its_line_end(void **state)
{
    struct secret_file file = file_with(SECRET "\r\n", sizeof(SECRET) + 1, 0640);
    struct config_secret secret;
    struct config_error error;
    (void)state;

    assert_true(cluster_secret(&file.config, &secret, &error));
    unlink(file.path);

    assert_string_equal(secret.hidden, SECRET);
}

static void secret_in_a_file_is_16_to_255_bytes_of_text(void **state)
{
    static const struct {
        size_t len;
        char byte;
        bool good;
    } cases[] = {{15, 'x', false},  {16, 'x', true},   {255, 'x', true},
                 {256, 'x', false}, {300, 'x', false}, {20, '\0', false}};
    struct config_secret secret;
    struct config_error error;
    char text[300];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(text, cases[i].byte, sizeof(text));
        struct secret_file file = file_with(text, cases[i].len, 0600);
        assert_int_equal(cluster_secret(&file.config, &secret, &error), cases[i].good);
        unlink(file.path);
        if (cases[i].good)
            assert_int_equal(strlen(secret.hidden), cases[i].len);
    }
}

static void secret_in_a_file_that_everybody_may_read_is_refused(void **state)
{
    struct secret_file file = file_with(SECRET, sizeof(SECRET) - 1, 0644);
    struct config_secret secret;
    struct config_error error;
    (void)state;

    assert_false(cluster_secret(&file.config, &secret, &error));
    unlink(file.path);

    assert_non_null(strstr(error.text, "cannot be used: everybody may read it; chmod o-rw"));
}

/* ---- what is accepted --------------------------------------------------------------------------
 */

static void values_reach_their_fields(void **state)
{
    struct config config;
    struct config_error error;
    char node[CONFIG_NAME_MAX];
    (void)state;

    assert_true(read_valid(&config,
                           "cluster:\n"
                           "  name: home_1\n"
                           "  node: n-1\n"
                           "  listen: 0.0.0.0:7000\n"
                           "  advertise: n1.example.org:7001\n"
                           "  addresses: [n2.example.org, \"[::1]:7002\", 192.0.2.3:7003]\n"
                           "  secret: " SECRET "\n"
                           "  weight: 50\n"
                           "  role: standby\n"
                           "  engine: external\n"
                           "  engine_urls: [\"nats://me:pw@n2:4222\", tls://n3]\n",
                           &error));
    assert_true(cluster_configured(&config));
    assert_true(cluster_node(&config, node));
    assert_string_equal(node, "n-1");
    assert_string_equal(cluster_advertised(&config)->host, "n1.example.org");
    assert_int_equal(cluster_advertised(&config)->port, 7001);
    assert_int_equal(config.cluster.address_count, 3);
    assert_string_equal(config.cluster.addresses[0].host, "n2.example.org");
    assert_int_equal(config.cluster.addresses[0].port, CLUSTER_PORT);
    assert_string_equal(config.cluster.addresses[1].host, "::1");
    assert_int_equal(config.cluster.addresses[2].port, 7003);
    assert_int_equal(config.cluster.weight, 50);
    assert_int_equal(config.cluster.role, CLUSTER_STANDBY);
    assert_int_equal(config.cluster.engine, CLUSTER_ENGINE_EXTERNAL);
    assert_int_equal(config.cluster.engine_url_count, 2);
    assert_string_equal(config.cluster.engine_urls[1].hidden, "tls://n3");
}

static void defaults_follow_from_listen(void **state)
{
    struct config config;
    struct config_error error;
    struct config_address other = {.host = "n2", .port = 7900};
    (void)state;

    assert_true(read_valid(&config, "cluster: {name: a, node: n1}\n", &error));
    assert_string_equal(cluster_advertised(&config)->host, "127.0.0.1");
    assert_int_equal(cluster_advertised(&config)->port, 7883);
    assert_int_equal(cluster_engine_port(&config), 8883);
    assert_int_equal(cluster_route_port(&config, &other), 9900);
    assert_true(config_set(&config, "cluster.engine_port=4222", &error));
    assert_true(config_set(&config, "cluster.engine_route_port=6222", &error));
    assert_int_equal(cluster_engine_port(&config), 4222);
    assert_int_equal(cluster_route_port(&config, &other), 6222);
}

static void node_is_the_host_up_to_the_first_dot(void **state)
{
    struct config config;
    char node[CONFIG_NAME_MAX], host[CONFIG_TEXT_MAX] = "";
    (void)state;

    config_defaults(&config);
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    host[strcspn(host, ".")] = '\0';
    if (cluster_node(&config, node))
        assert_string_equal(node, host);
    else
        assert_true(strlen(host) >= CONFIG_NAME_MAX || host[0] == '\0');
}

static void at_most_64_addresses(void **state)
{
    char yaml[2048];
    size_t used = (size_t)snprintf(yaml, sizeof(yaml), "cluster:\n  addresses:\n");
    struct config config;
    struct config_error error;
    (void)state;

    for (int i = 0; i < CONFIG_CLUSTER_LIST_MAX; i++)
        used += (size_t)snprintf(yaml + used, sizeof(yaml) - used, "    - n%d\n", i);
    assert_true(read_valid(&config, yaml, &error));
    snprintf(yaml + used, sizeof(yaml) - used, "    - n\n");
    assert_false(read_valid(&config, yaml, &error));

    assert_string_equal(error.text,
                        "skein.yaml:67: cluster.addresses: expected at most 64 entries");
}

static void url_has_a_scheme_and_a_host(void **state)
{
    (void)state;

    assert_true(cluster_url_valid("nats://h"));
    assert_true(cluster_url_valid("tls://h:4222"));
    assert_true(cluster_url_valid("nats://me:p@ss@[::1]:4222"));
    assert_false(cluster_url_valid("h:4222"));
    assert_false(cluster_url_valid("nats://"));
    assert_false(cluster_url_valid("nats://me:pw@"));
    assert_false(cluster_url_valid("ws://h"));
    assert_false(cluster_url_valid("nats://h:x"));
}

enum { BADS = sizeof(bads) / sizeof(bads[0]) };

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(rule_broken_by_set_is_blamed_on_set),
        cmocka_unit_test(without_a_name_nothing_else_counts),
        cmocka_unit_test(secret_is_never_in_a_message),
        cmocka_unit_test(documents_hold_no_secret),
        cmocka_unit_test(secret_in_a_file_loses_its_line_end),
        cmocka_unit_test(secret_in_a_file_is_16_to_255_bytes_of_text),
        cmocka_unit_test(secret_in_a_file_that_everybody_may_read_is_refused),
        cmocka_unit_test(values_reach_their_fields),
        cmocka_unit_test(defaults_follow_from_listen),
        cmocka_unit_test(node_is_the_host_up_to_the_first_dot),
        cmocka_unit_test(at_most_64_addresses),
        cmocka_unit_test(url_has_a_scheme_and_a_host),
    };
    enum { SINGLES = sizeof(singles) / sizeof(singles[0]) };
    static struct CMUnitTest tests[BADS + SINGLES];

    for (size_t i = 0; i < BADS; i++)
        tests[i] = (struct CMUnitTest){
            .name = bads[i].rule, .test_func = bad_is_refused, .initial_state = (void *)&bads[i]};
    memcpy(tests + BADS, singles, sizeof(singles));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
