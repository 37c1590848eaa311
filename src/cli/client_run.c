/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client_run.h"

#include "client/dial.h"
#include "model/reason.h"

#include <signal.h>

static bool on_turn(void *owner)
{
    struct client_run *run = owner;

    return run->turn != NULL && run->turn(run->owner);
}

static void on_stopping(void *owner)
{
    struct client_run *run = owner;

    client_close(&run->client);
}

static const struct loop_ops loop_ops = {.turn = on_turn, .stopping = on_stopping};

static void on_signal(uv_signal_t *handle, int number)
{
    struct client_run *run = handle->data;

    (void)number;
    if (run->finished)
        client_close(&run->client); /* asked twice: do not wait for the broker */
    else
        client_run_finish(run, EX_OK);
}

/* False: nobody answers; the exit code is set. */
static bool dial_now(struct client_run *run)
{
    const struct client_args *args = run->args;
    struct connect connect;
    struct client_websocket websocket = {args->host, args->websocket_path, args->port};
    char why[256];
    int fd = -1;

    enum rc rc = dial(args->host, args->port, args->source, DIAL_TIMEOUT_MS, &fd, why, sizeof(why));
    if (rc != RC_OK) {
        client_args_error(args, run->command, "%s", why);
        run->exit_code = rc == RC_NOT_FOUND ? EX_NOHOST : EX_UNAVAILABLE;
        return false;
    }
    client_args_connect(args, &connect);
    client_args_debug(args, "connecting to %s:%u as '%s'", args->host, args->port, args->client_id);
    rc = client_open(&run->client, fd, &connect, args->websocket_path != NULL ? &websocket : NULL);
    if (rc != RC_OK)
        run->exit_code = EX_OSERR;
    return rc == RC_OK;
}

static void redial_later(struct client_run *run)
{
    client_args_debug(run->args, "again in %llu ms", (unsigned long long)run->redial_ms);
    loop_timer_start(&run->loop, &run->redial, run->loop.now_ms + run->redial_ms);
    run->redial_ms = 2 * run->redial_ms < REDIAL_LAST_MS ? 2 * run->redial_ms : REDIAL_LAST_MS;
}

static void on_redial(struct loop_timer *timer)
{
    struct client_run *run = CONTAINER_OF(timer, struct client_run, redial);

    if (!run->finished && !dial_now(run))
        redial_later(run);
}

void client_run_init(struct client_run *run, const struct client_args *args, const char *command,
                     const struct client_ops *ops, void *owner)
{
    uint16_t window = CLIENT_WINDOW_MAX;

    *run = (struct client_run){
        .args = args,
        .command = command,
        .owner = owner,
        .redial_ms = REDIAL_FIRST_MS,
        .exit_code = EX_OK,
    };
    loop_init(&run->loop, &loop_ops, run);
    client_init(&run->client, &run->loop, ops, owner, window);
    loop_timer_init(&run->redial, on_redial);
    uv_signal_init(&run->loop.uv, &run->interrupt);
    uv_signal_init(&run->loop.uv, &run->terminate);
    run->interrupt.data = run->terminate.data = run;
}

int client_run(struct client_run *run)
{
    signal(SIGPIPE, SIG_IGN);
    uv_signal_start(&run->interrupt, on_signal, SIGINT);
    uv_signal_start(&run->terminate, on_signal, SIGTERM);
    if (dial_now(run))
        loop_run(&run->loop);
    else {
        loop_stop(&run->loop);
        loop_run(&run->loop);
    }
    client_deinit(&run->client);
    loop_deinit(&run->loop);
    return run->exit_code;
}

void client_run_finish(struct client_run *run, int exit_code)
{
    const struct property_block *block = &run->args->properties[PLACE_DISCONNECT];

    if (run->exit_code == EX_OK)
        run->exit_code = exit_code;
    if (run->finished)
        return;
    run->finished = true;
    loop_timer_stop(&run->loop, &run->redial);
    if (run->client.state == CLIENT_CLOSED)
        loop_stop(&run->loop);
    else
        client_disconnect(&run->client, MQTT_NORMAL_DISCONNECTION,
                          block->len > 0 ? &block->properties : NULL);
}

void client_run_connected(struct client_run *run, const struct connack *connack)
{
    run->was_up = true;
    run->redial_ms = REDIAL_FIRST_MS;
    run->exit_code = EX_OK;
    client_args_debug(run->args, "connected%s",
                      connack->session_present ? ", session present" : "");
}

static void say_refused(struct client_run *run, uint8_t reason)
{
    static const char *const v3[] = {
        "accepted",           "unacceptable protocol version", "identifier rejected",
        "server unavailable", "bad user name or password",     "not authorized"};

    client_args_error(run->args, run->command, "connection refused: %s (%u)",
                      reason < sizeof(v3) / sizeof(*v3) ? v3[reason]
                                                        : reason_name((enum mqtt_reason)reason),
                      reason);
    run->exit_code = reason;
}

void client_run_ended(struct client_run *run, enum client_end why, uint8_t reason)
{
    const char *name = reason_name((enum mqtt_reason)reason);

    switch (why) {
    case CLIENT_END_BY_US:
        return;
    case CLIENT_END_REFUSED:
        say_refused(run, reason);
        return;
    case CLIENT_END_BY_SERVER:
        client_args_error(run->args, run->command, "the broker disconnects: %s (%u)", name, reason);
        run->exit_code = reason != 0 ? reason : EX_UNAVAILABLE;
        return;
    case CLIENT_END_LOST:
        client_args_error(run->args, run->command, "connection lost");
        run->exit_code = EX_UNAVAILABLE;
        return;
    case CLIENT_END_SILENT:
        client_args_error(run->args, run->command, "the broker is silent");
        run->exit_code = EX_UNAVAILABLE;
        return;
    case CLIENT_END_MALFORMED:
        client_args_error(run->args, run->command, "the broker broke the protocol: %s (%u)", name,
                          reason);
        run->exit_code = EX_PROTOCOL;
        return;
    case CLIENT_END_NO_UPGRADE:
        client_args_error(run->args, run->command, "no WebSocket with MQTT is spoken there");
        run->exit_code = EX_PROTOCOL;
        return;
    }
}

void client_run_closed(struct client_run *run)
{
    if (run->redials && run->was_up && !run->finished)
        redial_later(run);
    else
        loop_stop(&run->loop);
}
