/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `skein serve`: puts the configuration together (file, then --set, then -p), sees that the data
 * directory can be used, and runs the broker. A mistake ends it before anything is started.
 */
#include "cli/commands.h"

#include "broker/broker.h"
#include "config/config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_SET = OPTION_LONG, OPT_CHECK };

static int cmd_serve(int argc, char **argv);

static const struct option serve_options[] = {
    {.id = 'c',
     .name = "config",
     .argument = "FILE",
     .flags = OPTION_FILE,
     .help = "Read the configuration from FILE. By default " DEFAULT_CONFIG_FILE
             ", or built-in values when that does not exist."},
    {.id = 'p',
     .name = "port",
     .argument = "PORT",
     .help = "Serve on 127.0.0.1:PORT and nowhere else, whatever the configuration lists. 0 is any "
             "free port; the log says which."},
    {.id = 'd',
     .name = "data-dir",
     .argument = "DIR",
     .flags = OPTION_FILE,
     .help = "Keep data in DIR, by default " DEFAULT_DATA_DIR
             ". It is made, for this user alone, when its parent exists."},
    {.id = OPT_SET,
     .name = "set",
     .argument = "KEY=VALUE",
     .flags = OPTION_REPEATABLE | OPTION_CONFIG_KEY,
     .help = "Set one key of the configuration, for example limits.connections=100. Wins over the "
             "file."},
    {.id = OPT_CHECK,
     .name = "check",
     .help = "Say whether the configuration is good, and start nothing."},
    {0},
};

static const struct exit_code serve_exit_codes[] = {
    {EX_OK, "The broker was told to end, and did; or --check found nothing wrong."},
    {EX_USAGE, "The command line is wrong."},
    {EX_UNAVAILABLE,
     "A listener's address is taken or does not exist here, or another broker uses the data "
     "directory; the message says which."},
    {EX_OSERR, "The system does not give what the broker needs, such as threads."},
    {EX_IOERR, "The data directory cannot be made or written to."},
    {EX_CONFIG, "The configuration is wrong; the message says where. Nothing was started."},
    {0},
};

static const struct example serve_examples[] = {
    {"skein serve -p 1883 -d ./data", "Try it out on loopback."},
    {"skein serve -c skein.yaml --check", "See whether a configuration is good."},
    {"skein serve --set limits.packet_bytes=1M --set workers=2", "Change keys for one run."},
    {0},
};

const struct command command_serve = {
    .name = "serve",
    .summary = "run the broker",
    .synopsis = "[-c FILE] [-p PORT] [-d DIR] [--set KEY=VALUE ...] [--check]",
    .description =
        "Runs the broker until SIGTERM or SIGINT. Clients are then told that it ends, and what is "
        "waiting is written, for at most broker.drain_timeout. SIGHUP is ignored.\n\n"
        "Without a configuration it listens on 127.0.0.1:1883 and [::1]:1883, and for WebSocket on "
        "127.0.0.1:8083. Log lines go to standard error.",
    .options = serve_options,
    .exit_codes = serve_exit_codes,
    .examples = serve_examples,
    .run = cmd_serve,
};

struct arguments {
    const char *file; /* NULL: the default one, if it exists */
    const char *data_dir;
    int port; /* -1: not given */
    bool check;
};

/* EX_OK, or what options_next() found. */
static int parse_arguments(int argc, char **argv, struct arguments *a, bool *ended)
{
    struct options o = options_begin(&command_serve, argc, argv);

    *a = (struct arguments){.data_dir = DEFAULT_DATA_DIR, .port = -1};
    while (options_next(&o)) {
        switch (o.id) {
        case 'c':
            a->file = o.value;
            break;
        case 'p':
            a->port = (int)options_number(&o, 0, UINT16_MAX);
            break;
        case 'd':
            a->data_dir = o.value;
            break;
        case OPT_CHECK:
            a->check = true;
            break;
        default: /* OPT_SET comes after the file: apply_sets() */
            break;
        }
    }
    *ended = o.ended;
    return o.exit_code;
}

/* Walks the arguments once more for the --set among them. */
static bool apply_sets(int argc, char **argv, struct config *config, struct config_error *error)
{
    struct options o = options_begin(&command_serve, argc, argv);

    while (options_next(&o))
        if (o.id == OPT_SET && !config_set(config, o.value, error))
            return false;
    return true;
}

static bool read_file(const char *file, struct config *config, struct config_error *error)
{
    if (file == NULL) {
        if (access(DEFAULT_CONFIG_FILE, F_OK) != 0 && errno == ENOENT) {
            config_defaults(config);
            return true;
        }
        file = DEFAULT_CONFIG_FILE;
    }
    return config_read_file(config, file, error);
}

static bool put_together(int argc, char **argv, const struct arguments *a, struct config *config,
                         struct config_error *error)
{
    if (!read_file(a->file, config, error) || !apply_sets(argc, argv, config, error))
        return false;
    if (a->port >= 0)
        config_listen_loopback(config, (uint16_t)a->port);
    return config_validate(config, error);
}

/* Makes the data directory when its parent is there. */
static int prepare_data_dir(const char *dir)
{
    struct stat status;
    const char *what = "cannot be written to";

    if (mkdir(dir, 0700) == 0)
        return EX_OK;
    if (errno != EEXIST) {
        what = "cannot be made";
    } else if (stat(dir, &status) == 0) {
        if (!S_ISDIR(status.st_mode))
            errno = ENOTDIR;
        else if (access(dir, R_OK | W_OK | X_OK) == 0)
            return EX_OK;
    }
    fprintf(stderr, "skein serve: data directory %s %s: %s; -d names another one\n", dir, what,
            strerror(errno));
    return EX_IOERR;
}

/* A signal that comes while the broker starts is not lost, and ends it when it has started. */
static void hold_signals(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &held, NULL);
}

static int cmd_serve(int argc, char **argv)
{
    struct arguments arguments;
    struct config config;
    struct config_error error;
    bool ended;

    int result = parse_arguments(argc, argv, &arguments, &ended);
    if (ended)
        return result;
    if (!put_together(argc, argv, &arguments, &config, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return EX_CONFIG;
    }
    if (arguments.check) {
        puts("configuration ok");
        return EX_OK;
    }
    hold_signals();
    result = prepare_data_dir(arguments.data_dir);
    if (result != EX_OK)
        return result;
    return broker_run(&config, arguments.data_dir);
}
