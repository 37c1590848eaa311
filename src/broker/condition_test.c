/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/condition.h"

#include <string.h>

static const struct condition well = {
    .phase = BROKER_SERVING,
    .busy_percent = 15,
    .connections = 10,
    .connections_max = 1000,
    .serving_ms = CONDITION_NEW_MS,
};

static void assert_line(const struct condition *condition, const char *line)
{
    char seen[64];

    condition_agent_line(condition, seen, sizeof(seen));
    assert_string_equal(seen, line);
}

static void assert_obstacle(const struct condition *condition, const char *word)
{
    const char *seen = condition_obstacle(condition);

    assert_true((seen == NULL) == (word == NULL));
    if (word != NULL)
        assert_string_equal(seen, word);
}

static void broker_that_is_well_lets_clients_in(void **state)
{
    (void)state;
    assert_null(condition_failure(&well));
    assert_obstacle(&well, NULL);
    assert_line(&well, "up 85%\n");
}

static void broker_that_loads_is_alive_and_not_ready(void **state)
{
    struct condition c = well;

    (void)state;
    c.phase = BROKER_LOADING;
    c.stuck = true; /* workers do not turn before they serve */
    assert_null(condition_failure(&c));
    assert_obstacle(&c, "loading");
    assert_line(&c, "stopped #loading\n");
}

static void broker_that_leaves_drains_whatever_else_is_wrong(void **state)
{
    struct condition c = well;

    (void)state;
    c.phase = BROKER_LEAVING;
    c.stuck = c.memory_full = true;
    c.serving_ms = 0;
    assert_null(condition_failure(&c));
    assert_obstacle(&c, "draining");
    assert_line(&c, "drain\n");
}

static void broker_that_is_drained_is_well_and_wants_nobody(void **state)
{
    struct condition c = well;

    (void)state;
    c.drained = true;
    c.serving_ms = 0;
    assert_null(condition_failure(&c));
    assert_obstacle(&c, "drained");
    assert_line(&c, "drain\n");
    c.drained = false;
    c.removed = true;
    assert_obstacle(&c, "removed");
    assert_line(&c, "drain\n");
}

static void broker_with_a_worker_that_hangs_has_failed(void **state)
{
    struct condition c = well;

    (void)state;
    c.stuck = true;
    assert_string_equal(condition_failure(&c), "worker_stuck");
    assert_obstacle(&c, "worker_stuck");
    assert_line(&c, "stopped #worker_stuck\n");
}

static void broker_without_memory_is_alive_and_wants_nobody(void **state)
{
    struct condition c = well;

    (void)state;
    c.memory_full = true;
    assert_null(condition_failure(&c));
    assert_obstacle(&c, "memory_full");
    assert_line(&c, "up 0%\n");
}

static void broker_at_its_limit_of_connections_wants_nobody(void **state)
{
    struct condition c = well;

    (void)state;
    c.connections = c.connections_max - 1;
    assert_obstacle(&c, NULL);
    c.connections++;
    assert_null(condition_failure(&c));
    assert_obstacle(&c, "connections_full");
    assert_line(&c, "up 0%\n");
}

static void broker_that_is_new_takes_back_a_drain(void **state)
{
    struct condition c = well;

    (void)state;
    c.serving_ms = CONDITION_NEW_MS - 1;
    assert_line(&c, "ready up 85%\n");
    c.memory_full = true;
    assert_line(&c, "ready up 0%\n");
}

static void weight_is_what_the_scarcer_of_time_and_connections_leaves(void **state)
{
    static const struct {
        uint32_t busy, connections, max, weight;
    } cases[] = {
        {0, 0, 1000, 100},
        {15, 0, 1000, 85},
        {0, 150, 1000, 85},
        {40, 600, 1000, 40},
        {60, 400, 1000, 40},
        {12, 0, 1000, 90},
        {13, 0, 1000, 85},
        {97, 0, 1000, 5},
        {100, 0, 1000, 5},
        {250, 0, 1000, 5},
        {0, 2000, 1000, 5},
        {0, 0, 0, 5},
        {0, UINT32_MAX / 2, UINT32_MAX, 50},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct condition c = well;
        c.busy_percent = cases[i].busy;
        c.connections = cases[i].connections;
        c.connections_max = cases[i].max;
        assert_int_equal(condition_weight_percent(&c), cases[i].weight);
    }
}

static void broker_that_is_cut_off_takes_nobody_for_now(void **state)
{
    struct condition c = well;

    (void)state;
    c.waits = true;
    assert_obstacle(&c, "waits_for_nodes");
    c.cut_off = true;
    assert_null(condition_failure(&c));
    assert_obstacle(&c, "cut_off");
    assert_line(&c, "up 0%\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broker_that_is_well_lets_clients_in),
        cmocka_unit_test(broker_that_loads_is_alive_and_not_ready),
        cmocka_unit_test(broker_that_leaves_drains_whatever_else_is_wrong),
        cmocka_unit_test(broker_that_is_drained_is_well_and_wants_nobody),
        cmocka_unit_test(broker_with_a_worker_that_hangs_has_failed),
        cmocka_unit_test(broker_without_memory_is_alive_and_wants_nobody),
        cmocka_unit_test(broker_at_its_limit_of_connections_wants_nobody),
        cmocka_unit_test(broker_that_is_new_takes_back_a_drain),
        cmocka_unit_test(weight_is_what_the_scarcer_of_time_and_connections_leaves),
        cmocka_unit_test(broker_that_is_cut_off_takes_nobody_for_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
