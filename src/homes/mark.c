/* SPDX-License-Identifier: Apache-2.0 */
#include "homes/mark.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

static const char format[] =
    "skein-cluster 1\nname %s\nid %s\ngroups %d\nstate %s\ninstance %016" PRIx64;

bool mark_id_valid(const char *id)
{
    return strlen(id) == HOMES_ID - 1 && strspn(id, "0123456789abcdef") == HOMES_ID - 1;
}

void mark_draw(char id[HOMES_ID])
{
    uint64_t number;

    CHECK(getrandom(&number, sizeof(number), 0) == sizeof(number));
    snprintf(id, HOMES_ID, "%016" PRIx64, number);
}

uint64_t mark_draw_instance(void)
{
    uint64_t number = 0;

    while (number == 0)
        CHECK(getrandom(&number, sizeof(number), 0) == sizeof(number));
    return number;
}

static bool parse(FILE *in, struct mark *mark)
{
    char name[HOMES_NAME_MAX], id[HOMES_ID], groups[8], known[8], state[16], instance[HOMES_ID];

    if (fscanf(in, "skein-cluster 1\nname %63s\nid %16s\ngroups %7s\nstate %15s\n", name, id,
               groups, state) != 4)
        return false;
    snprintf(known, sizeof(known), "%d", HOMES_GROUPS);
    bool growing = strcmp(state, "growing") == 0, seeding = strcmp(state, "seeding") == 0;
    bool founded = growing || strcmp(state, "founded") == 0;
    if (!mark_id_valid(id) || strcmp(groups, known) != 0 ||
        (!founded && !seeding && strcmp(state, "founding") != 0))
        return false;
    *mark = (struct mark){.founded = founded, .seeding = seeding, .growing = growing};
    if (fscanf(in, "instance %16s\n", instance) == 1 && mark_id_valid(instance))
        mark->instance = strtoull(instance, NULL, 16);
    memcpy(mark->name, name, sizeof(name));
    memcpy(mark->id, id, sizeof(id));
    return true;
}

static FILE *open_file(const char *data_dir, const char *name, const char *mode)
{
    char path[MANAGED_PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/%s", data_dir, name);

    if (len < 0 || (size_t)len >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    return fopen(path, mode);
}

enum rc mark_read(const char *data_dir, struct mark *mark)
{
    FILE *in = open_file(data_dir, MARK_FILE, "re");

    *mark = (struct mark){.id = ""};
    if (in == NULL)
        return errno == ENOENT ? RC_NOT_FOUND : RC_IO;
    bool good = parse(in, mark);
    fclose(in);
    return good ? RC_OK : RC_INVALID;
}

static enum rc flush_folder(const char *data_dir)
{
    int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return RC_IO;
    bool good = fsync(fd) == 0;
    close(fd);
    return good ? RC_OK : RC_IO;
}

enum rc mark_write_text(const char *data_dir, const char *name, const char *text)
{
    char path[MANAGED_PATH_MAX + 32], part[MANAGED_PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/%s", data_dir, name);
    snprintf(part, sizeof(part), "%s/%s.new", data_dir, name);
    FILE *out = fopen(part, "we");
    if (out == NULL)
        return RC_IO;
    bool good = fprintf(out, "%s\n", text) > 0;
    good = fflush(out) == 0 && good && fsync(fileno(out)) == 0;
    good = fclose(out) == 0 && good;
    if (!good || rename(part, path) != 0)
        return RC_IO;
    return flush_folder(data_dir);
}

void mark_read_text(const char *data_dir, const char *name, char *out, size_t room)
{
    FILE *in = open_file(data_dir, name, "re");

    out[0] = '\0';
    if (in == NULL)
        return;
    if (fgets(out, (int)room, in) == NULL)
        out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    fclose(in);
}

enum rc mark_write(const char *data_dir, const struct mark *mark)
{
    char text[256];

    snprintf(text, sizeof(text), format, mark->name, mark->id, HOMES_GROUPS,
             mark->growing   ? "growing"
             : mark->founded ? "founded"
             : mark->seeding ? "seeding"
                             : "founding",
             mark->instance);
    return mark_write_text(data_dir, MARK_FILE, text);
}

enum rc mark_remove(const char *data_dir, const char *name)
{
    char path[MANAGED_PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", data_dir, name);
    if (unlink(path) != 0 && errno != ENOENT)
        return RC_IO;
    return flush_folder(data_dir);
}
