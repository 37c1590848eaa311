/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `skein ctl`: asks and steers a running broker. Its commands are the resources of the API that
 * have one: a row in the table of src/broker/api.c is all that a new command needs, but for its
 * name in `choices` below.
 */
#include "cli/commands.h"

#include "broker/api.h"
#include "cli/control_client.h"
#include "cli/ctl_print.h"
#include "cli/ctl_request.h"
#include "config/nearest.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_JSON = OPTION_LONG };

static int cmd_ctl(int argc, char **argv);

static const struct option ctl_options[] = {
    {.id = 'd',
     .name = "data-dir",
     .argument = "DIR",
     .flags = OPTION_FILE,
     .help = "The data directory of the broker, by default " DEFAULT_DATA_DIR
             ". Its control socket is found there."},
    {.id = OPT_JSON, .name = "json", .help = "Print the answer as JSON, for scripts."},
    {0},
};

static const struct operand ctl_operands[] = {
    {.name = "COMMAND",
     .help = "What to do; `skein ctl` alone lists the commands with what they take.",
     .choices = CTL_COMMANDS},
    {.name = "WORD",
     .help =
         "Values of the command's parameters in their order; optional ones also as NAME=VALUE. For "
         "get, a path of the API."},
    {0},
};

static const struct exit_code ctl_exit_codes[] = {
    {EX_OK, "It was done; the answer was printed."},
    {EX_USAGE, "The command line, or a value in it, is wrong."},
    {EX_NOINPUT, "What was named, such as a client, does not exist."},
    {EX_UNAVAILABLE, "No broker runs on that data directory, or it is not ready."},
    {EX_SOFTWARE, "The broker could not do it; the message says why."},
    {EX_NOPERM, "Only the user that the broker runs as may ask it."},
    {0},
};

static const struct example ctl_examples[] = {
    {"skein ctl broker", "What is running."},
    {"skein ctl clients limit=20", "The first 20 clients that are connected."},
    {"skein ctl client pump-7", "One client."},
    {"skein ctl disconnect pump-7", "Disconnect it."},
    {"skein ctl metrics publish_received", "One metric."},
    {"skein ctl --json get '/v1/clients?limit=1000'", "The API itself."},
    {0},
};

const struct command command_ctl = {
    .name = "ctl",
    .summary = "ask and steer a running broker",
    .synopsis = "[-d DIR] [--json] COMMAND [WORD ...]",
    .description =
        "Speaks to the broker that runs on a data directory, over the control socket in it, which "
        "only the user that the broker runs as may open. The commands are those of the HTTP API; "
        "its "
        "reference says what each answers.",
    .options = ctl_options,
    .operands = ctl_operands,
    .exit_codes = ctl_exit_codes,
    .examples = ctl_examples,
    .run = cmd_ctl,
};

struct arguments {
    const char *data_dir;
    const char *command; /* NULL: none */
    char *words[CTL_WORDS_MAX];
    size_t word_count;
    bool json;
};

static void take_operand(struct options *o, struct arguments *a)
{
    if (a->command == NULL)
        a->command = o->value;
    else if (a->word_count == CTL_WORDS_MAX)
        options_fail(o, "unexpected word '%s'", o->value);
    else
        a->words[a->word_count++] = (char *)(uintptr_t)o->value; /* one of argv */
}

static int parse_arguments(int argc, char **argv, struct arguments *a, bool *ended)
{
    struct options o = options_begin(&command_ctl, argc, argv);

    *a = (struct arguments){.data_dir = DEFAULT_DATA_DIR};
    while (options_next(&o)) {
        switch (o.id) {
        case 'd':
            a->data_dir = o.value;
            break;
        case OPT_JSON:
            a->json = true;
            break;
        default:
            take_operand(&o, a);
            break;
        }
    }
    *ended = o.ended;
    return o.exit_code;
}

static int list_commands(void)
{
    fputs("usage: skein ctl [-d DIR] [--json] COMMAND [WORD ...]\n\ncommands:\n", stderr);
    for (const struct resource *r = api_resources; r->path != NULL; r++) {
        if (r->command == NULL)
            continue;
        fputs("  ", stderr);
        ctl_write_usage(r, stderr);
        fprintf(stderr, "\n      %s\n", r->summary);
    }
    fputs("  get PATH\n      Any resource of the API, as /v1/health\n", stderr);
    return EX_USAGE;
}

static int refuse_command(const char *word)
{
    struct nearest nearest = nearest_begin(word);

    for (const struct resource *r = api_resources; r->path != NULL; r++)
        if (r->command != NULL)
            nearest_offer(&nearest, r->command, r->command);
    const char *best = nearest_get(&nearest);
    fprintf(stderr, "skein ctl: no command '%s'%s%s%s; 'skein ctl' lists them\n", word,
            best == NULL ? "" : "; did you mean ", best == NULL ? "" : best,
            best == NULL ? "" : "?");
    return EX_USAGE;
}

static void print_answer(const struct arguments *a, json_t *answer)
{
    json_t *next = json_object_get(answer, "next");

    if (a->json || strcmp(a->command, "get") == 0) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
        return;
    }
    json_incref(next);
    json_object_del(answer, "next");
    ctl_print(answer, stdout);
    if (next != NULL)
        fprintf(stderr, "There is more: skein ctl %s after=%s\n", a->command,
                json_string_value(next));
    json_decref(next);
}

static int ask(const struct arguments *a, const struct ctl_request *request)
{
    struct control_answer answer;
    int result =
        control_ask("ctl", a->data_dir, request->method, request->target, request->body, &answer);

    if (result == EX_OK)
        print_answer(a, answer.json);
    control_answer_free(&answer);
    return result;
}

static int run_get(const struct arguments *a)
{
    struct ctl_request request = {.method = HTTP_GET, .target = a->words[0]};

    if (a->word_count == 1 && strpbrk(a->words[0], " \r\n") == NULL && a->words[0][0] == '/')
        return ask(a, &request);
    fputs("skein ctl: get takes one path of the API, as /v1/health\n", stderr);
    return EX_USAGE;
}

static int run_command(const struct arguments *a, const struct resource *resource)
{
    struct ctl_request request;
    int result = EX_USAGE;

    if (ctl_request_make(&request, resource, a->words, a->word_count)) {
        result = ask(a, &request);
    } else {
        fprintf(stderr, "skein ctl: %s\nusage: skein ctl ", request.error);
        ctl_write_usage(resource, stderr);
        fputc('\n', stderr);
    }
    ctl_request_free(&request);
    return result;
}

static int cmd_ctl(int argc, char **argv)
{
    struct arguments arguments;
    bool ended;

    int result = parse_arguments(argc, argv, &arguments, &ended);
    if (ended)
        return result;
    if (arguments.command == NULL)
        return list_commands();
    if (strcmp(arguments.command, "get") == 0)
        return run_get(&arguments);
    const struct resource *resource = ctl_find(api_resources, arguments.command);
    return resource == NULL ? refuse_command(arguments.command) : run_command(&arguments, resource);
}
