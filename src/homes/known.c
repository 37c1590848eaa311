/* SPDX-License-Identifier: Apache-2.0 */
#include "homes/known.h"

#include "base/check.h"
#include "base/memory.h"
#include "homes/mark.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD "skein-nodes 1"

enum { LINE_MAX_BYTES = HOMES_NAME_MAX + HOMES_ADDRESS_MAX + HOMES_SERVER_MAX + 32 };

static const char *or_dash(const char *text)
{
    return text[0] == '\0' ? "-" : text;
}

static bool take_word(char **rest, char *out, size_t room)
{
    const char *word = strtok_r(NULL, " \n", rest);

    if (word == NULL || strlen(word) >= room)
        return false;
    snprintf(out, room, "%s", strcmp(word, "-") == 0 ? "" : word);
    return true;
}

static bool parse(char *line, struct homes_known *node)
{
    char instance[HOMES_ID], *rest = NULL;
    const char *name = strtok_r(line, " \n", &rest);

    *node = (struct homes_known){.node = ""};
    if (name == NULL || strlen(name) >= sizeof(node->node))
        return false;
    snprintf(node->node, sizeof(node->node), "%s", name);
    if (!take_word(&rest, node->address, sizeof(node->address)) ||
        !take_word(&rest, node->server, sizeof(node->server)) ||
        !take_word(&rest, instance, sizeof(instance)) || !mark_id_valid(instance))
        return false;
    node->instance = strtoull(instance, NULL, 16);
    return true;
}

enum rc known_read(const char *data_dir, const char *name, struct known_list *list)
{
    char path[MANAGED_PATH_MAX], line[LINE_MAX_BYTES];
    struct homes_known node;
    enum rc rc = RC_OK;

    *list = (struct known_list){.count = 0};
    snprintf(path, sizeof(path), "%s/%s", data_dir, name);
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return errno == ENOENT ? RC_OK : RC_INVALID;
    if (fgets(line, sizeof(line), in) == NULL || strcmp(line, HEAD "\n") != 0)
        rc = RC_INVALID;
    while (rc == RC_OK && fgets(line, sizeof(line), in) != NULL) {
        if (parse(line, &node))
            known_add(list, &node);
        else
            rc = RC_INVALID;
    }
    fclose(in);
    return rc;
}

enum rc known_write(const char *data_dir, const char *name, const struct known_list *list)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    CHECK(out != NULL);
    fputs(HEAD, out);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct homes_known *node = &list->at[i];
        fprintf(out, "\n%s %s %s %016" PRIx64, node->node, or_dash(node->address),
                or_dash(node->server), node->instance);
    }
    fclose(out);
    enum rc rc = mark_write_text(data_dir, name, text);
    free(text);
    return rc;
}

struct homes_known *known_node(const struct known_list *list, const char *node)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->at[i].node, node) == 0)
            return &list->at[i];
    return NULL;
}

struct homes_known *known_instance(const struct known_list *list, uint64_t instance)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->at[i].instance == instance)
            return &list->at[i];
    return NULL;
}

void known_add(struct known_list *list, const struct homes_known *node)
{
    list->at = mem_resize(list->at, (list->count + 1) * sizeof(*list->at));
    list->at[list->count++] = *node;
}

void known_take_out(struct known_list *list, struct homes_known *node)
{
    size_t place = (size_t)(node - list->at);

    CHECK(place < list->count);
    memmove(node, node + 1, (list->count - place - 1) * sizeof(*node));
    list->count--;
}

void known_free(struct known_list *list)
{
    mem_free(list->at);
    *list = (struct known_list){.count = 0};
}
