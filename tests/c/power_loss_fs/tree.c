/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- names ---- */

static struct name *names_get(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i].text, text) == 0)
            return &names->list[i];
    return NULL;
}

struct node *names_find(const struct names *names, const char *text)
{
    const struct name *name = names_get(names, text);
    return name ? name->node : NULL;
}

static void names_add(struct names *names, const char *text, struct node *node)
{
    if (names->count == names->room) {
        names->room = names->room ? 2 * names->room : 8;
        names->list = must(realloc(names->list, names->room * sizeof(struct name)));
    }
    struct name *name = &names->list[names->count++];
    (void)snprintf(name->text, sizeof(name->text), "%s", text);
    name->node = node;
    node_hold(node);
}

/* Gives the reference that the name had. */
static struct node *names_take(struct names *names, const char *text)
{
    struct name *name = names_get(names, text);
    if (name == NULL)
        return NULL;
    struct node *node = name->node;
    *name = names->list[--names->count];
    return node;
}

/* ---- nodes ---- */

static void number_text(const struct node *node, char text[32])
{
    (void)snprintf(text, 32, "%llu", (unsigned long long)node->number);
}

static void disk_take(struct tree *tree, struct node *directory, const char *name);

static struct node *node_new(struct tree *tree, enum node_kind kind, mode_t mode)
{
    struct node *node = must(calloc(1, sizeof(*node)));
    node->kind = kind;
    node->mode = mode;
    node->number = ++tree->numbers;
    node->fd = -1;
    node->references = 1;
    (void)clock_gettime(CLOCK_REALTIME, &node->changed);
    node->next = tree->all;
    node->back = &tree->all;
    if (node->next)
        node->next->back = &node->next;
    tree->all = node;
    return node;
}

void node_hold(struct node *node)
{
    node->references++;
}

void node_drop(struct tree *tree, struct node *node)
{
    if (node == NULL || --node->references > 0)
        return;
    while (node->disk.count > 0) /* it went first: what was in it went with it */
        disk_take(tree, node, node->disk.list[0].text);
    *node->back = node->next;
    if (node->next)
        node->next->back = node->back;
    if (node->fd >= 0)
        (void)close(node->fd);
    if (node->names_on_disk == 0 && node->kind != NODE_OTHER) {
        char text[32];
        number_text(node, text);
        (void)unlinkat(tree->limbo, text, node->kind == NODE_DIRECTORY ? AT_REMOVEDIR : 0);
    }
    dirty_deinit(&node->dirty);
    free(node->now.list);
    free(node->disk.list);
    free(node);
}

/* ---- the second tree ---- */

static void disk_take(struct tree *tree, struct node *directory, const char *name)
{
    struct node *node = names_take(&directory->disk, name);
    if (node == NULL)
        return;
    char text[32];
    number_text(node, text);
    if (node->names_on_disk == 1)
        (void)renameat(directory->fd, name, tree->limbo, text);
    else
        (void)unlinkat(directory->fd, name, 0);
    node->names_on_disk--;
    node_drop(tree, node);
}

static void disk_put(struct tree *tree, struct node *directory, const char *name, struct node *node)
{
    char text[64];
    int status = 0;
    if (node->names_on_disk == 0) {
        number_text(node, text);
        status = renameat(tree->limbo, text, directory->fd, name);
    } else {
        (void)snprintf(text, sizeof(text), "/proc/self/fd/%d", node->fd);
        status = linkat(AT_FDCWD, text, directory->fd, name, AT_SYMLINK_FOLLOW);
    }
    if (status) {
        (void)fprintf(stderr, "power_loss_fs: %s: %s\n", name, strerror(errno));
        abort(); /* what tests would see from here on were lies */
    }
    node->names_on_disk++;
    names_add(&directory->disk, name, node);
}

static void change_apply(struct tree *tree, const struct change *change)
{
    for (int i = 0; i < 2; i++) {
        struct node *directory = change->directories[i], *target = change->targets[i];
        if (directory == NULL || (target && target->kind == NODE_OTHER))
            continue;
        if (names_find(&directory->disk, change->names[i]) == target)
            continue;
        disk_take(tree, directory, change->names[i]);
        if (target)
            disk_put(tree, directory, change->names[i], target);
    }
}

static void change_free(struct tree *tree, struct change *change)
{
    for (int i = 0; i < 2; i++) {
        node_drop(tree, change->directories[i]);
        node_drop(tree, change->targets[i]);
    }
    free(change);
}

static struct change *change_new(struct tree *tree)
{
    if (tree->changes_count == tree->changes_room) {
        tree->changes_room = tree->changes_room ? 2 * tree->changes_room : 64;
        tree->changes = must(realloc(tree->changes, tree->changes_room * sizeof(*tree->changes)));
    }
    struct change *change = must(calloc(1, sizeof(*change)));
    tree->changes[tree->changes_count++] = change;
    return change;
}

/* Notes that directory/name becomes node (or goes away), and does it in the tree of now. */
static void change_now(struct tree *tree, struct change *change, int part, struct node *directory,
                       const char *name, struct node *node)
{
    change->directories[part] = directory;
    node_hold(directory);
    (void)snprintf(change->names[part], sizeof(change->names[part]), "%s", name);
    change->targets[part] = node;
    struct node *before = names_take(&directory->now, name);
    if (node) {
        node_hold(node);
        names_add(&directory->now, name, node);
        node->names_now++;
    }
    if (before)
        before->names_now--;
    node_drop(tree, before);
    (void)clock_gettime(CLOCK_REALTIME, &directory->changed);
}

/* Brings the first `limit` changes that concern the directory to disk, and what hangs on them. */
static void sync_names(struct tree *tree, struct node *directory, size_t limit)
{
    directory->marked = true;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < limit; i++) {
            struct node *first = tree->changes[i]->directories[0];
            struct node *second = tree->changes[i]->directories[1];
            if (second && first->marked != second->marked)
                first->marked = second->marked = more = true;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < tree->changes_count; i++) {
        struct change *change = tree->changes[i];
        if (i < limit && change->directories[0]->marked) {
            change_apply(tree, change);
            change_free(tree, change);
        } else {
            tree->changes[kept++] = change;
        }
    }
    tree->changes_count = kept;
    for (struct node *node = tree->all; node; node = node->next)
        node->marked = false;
}

/* The node's own creation, and those of the directories above it. */
static void sync_creation(struct tree *tree, struct node *node)
{
    for (size_t i = 0; node && i < tree->changes_count; i++) {
        struct change *change = tree->changes[i];
        if (!change->creation || change->targets[0] != node)
            continue;
        struct node *directory = change->directories[0];
        node_hold(directory);
        sync_names(tree, directory, i + 1);
        sync_creation(tree, directory);
        node_drop(tree, directory);
        return;
    }
}

int tree_sync(struct tree *tree, struct node *node)
{
    if (node->kind == NODE_FILE) {
        int error = dirty_flush(&node->dirty, node->fd);
        if (error)
            return error;
    } else if (node->kind == NODE_DIRECTORY) {
        sync_names(tree, node, tree->changes_count);
    }
    sync_creation(tree, node);
    return 0;
}

/* ---- the tree of now ---- */

struct node *tree_find(struct tree *tree, const char *path)
{
    struct node *node = tree->root;
    while (node && *(path += strspn(path, "/"))) {
        char text[NAME_MAX + 1];
        size_t length = strcspn(path, "/");
        if (length > NAME_MAX || node->kind != NODE_DIRECTORY)
            return NULL;
        memcpy(text, path, length);
        text[length] = '\0';
        path += length;
        node = names_find(&node->now, text);
    }
    return node;
}

struct node *tree_parent(struct tree *tree, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash + 1;
    if (strlen(*name) > NAME_MAX)
        return NULL;
    char *above = must(strndup(path, (size_t)(slash - path)));
    struct node *node = tree_find(tree, above);
    free(above);
    return node && node->kind == NODE_DIRECTORY ? node : NULL;
}

static int make_on_disk(struct tree *tree, struct node *node)
{
    char text[32];
    number_text(node, text);
    if (node->kind == NODE_DIRECTORY) {
        if (mkdirat(tree->limbo, text, 0700))
            return -errno;
        node->fd = openat(tree->limbo, text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else if (node->kind == NODE_FILE) {
        node->fd = openat(tree->limbo, text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        dirty_init(&node->dirty, 0);
    } else {
        return 0;
    }
    return node->fd < 0 ? -errno : 0;
}

int tree_create(struct tree *tree, const char *path, enum node_kind kind, mode_t mode,
                struct node **node)
{
    const char *name = NULL;
    struct node *directory = tree_parent(tree, path, &name);
    if (directory == NULL)
        return -ENOENT;
    if (names_find(&directory->now, name))
        return -EEXIST;
    struct node *made = node_new(tree, kind, mode);
    int error = make_on_disk(tree, made);
    if (error == 0) {
        struct change *change = change_new(tree);
        change->creation = true;
        change_now(tree, change, 0, directory, name, made);
        *node = made;
    }
    node_drop(tree, made);
    return error;
}

int tree_link(struct tree *tree, struct node *node, const char *path)
{
    const char *name = NULL;
    struct node *directory = tree_parent(tree, path, &name);
    if (directory == NULL)
        return -ENOENT;
    if (names_find(&directory->now, name))
        return -EEXIST;
    if (node->kind != NODE_FILE)
        return -EPERM;
    change_now(tree, change_new(tree), 0, directory, name, node);
    return 0;
}

int tree_remove(struct tree *tree, const char *path, enum node_kind kind)
{
    const char *name = NULL;
    struct node *directory = tree_parent(tree, path, &name);
    struct node *node = directory ? names_find(&directory->now, name) : NULL;
    if (node == NULL)
        return -ENOENT;
    if (kind == NODE_DIRECTORY && node->kind != NODE_DIRECTORY)
        return -ENOTDIR;
    if (kind != NODE_DIRECTORY && node->kind == NODE_DIRECTORY)
        return -EISDIR;
    if (node->now.count > 0)
        return -ENOTEMPTY;
    change_now(tree, change_new(tree), 0, directory, name, NULL);
    return 0;
}

int tree_rename(struct tree *tree, const char *from, const char *to)
{
    const char *old_name = NULL, *new_name = NULL;
    struct node *source = tree_parent(tree, from, &old_name);
    struct node *target = tree_parent(tree, to, &new_name);
    struct node *node = source ? names_find(&source->now, old_name) : NULL;
    if (node == NULL || target == NULL)
        return -ENOENT;
    const struct node *before = names_find(&target->now, new_name);
    if (before == node)
        return 0;
    if (before && before->kind == NODE_DIRECTORY && before->now.count > 0)
        return -ENOTEMPTY;
    struct change *change = change_new(tree);
    node_hold(node);
    change_now(tree, change, 0, source, old_name, NULL);
    change_now(tree, change, 1, target, new_name, node);
    node_drop(tree, node);
    return 0;
}

/* ---- power ---- */

static struct node *same_file(struct tree *tree, const struct stat *about)
{
    struct stat other;
    for (struct node *node = tree->all; node; node = node->next)
        if (!node->gone && node->kind == NODE_FILE && fstat(node->fd, &other) == 0 &&
            other.st_ino == about->st_ino)
            return node;
    return NULL;
}

static int scan(struct tree *tree, struct node *directory);

/* One name of the disk becomes one of both trees. */
static int scan_name(struct tree *tree, struct node *directory, const char *name)
{
    struct stat about;
    if (fstatat(directory->fd, name, &about, AT_SYMLINK_NOFOLLOW))
        return -errno;
    bool is_directory = S_ISDIR(about.st_mode);
    struct node *node = about.st_nlink > 1 && !is_directory ? same_file(tree, &about) : NULL;
    if (node) {
        node_hold(node);
    } else {
        node =
            node_new(tree, is_directory ? NODE_DIRECTORY : NODE_FILE, is_directory ? 0755 : 0644);
        node->fd = openat(directory->fd, name,
                          (is_directory ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_CLOEXEC);
        if (!is_directory)
            dirty_init(&node->dirty, (uint64_t)about.st_size);
    }
    node->names_now++;
    node->names_on_disk++;
    names_add(&directory->now, name, node);
    names_add(&directory->disk, name, node);
    int error = node->fd < 0 ? -errno : is_directory ? scan(tree, node) : 0;
    node_drop(tree, node);
    return error;
}

static int scan(struct tree *tree, struct node *directory)
{
    int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (listing == NULL)
        return -errno;
    int error = 0;
    for (const struct dirent *each; error == 0 && (each = readdir(listing));)
        if (strcmp(each->d_name, ".") != 0 && strcmp(each->d_name, "..") != 0)
            error = scan_name(tree, directory, each->d_name);
    (void)closedir(listing);
    return error;
}

static int start(struct tree *tree)
{
    tree->root = node_new(tree, NODE_DIRECTORY, 0755);
    tree->root->names_now = tree->root->names_on_disk = 1;
    tree->root->fd = openat(tree->disk, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return tree->root->fd < 0 ? -errno : scan(tree, tree->root);
}

/* What an earlier run left there has no name. */
static void empty_limbo(int limbo)
{
    int fd = openat(limbo, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (listing == NULL)
        return;
    for (const struct dirent *each; (each = readdir(listing));)
        if (unlinkat(limbo, each->d_name, 0))
            (void)unlinkat(limbo, each->d_name, AT_REMOVEDIR);
    (void)closedir(listing);
}

int tree_open(struct tree *tree, const char *folder)
{
    *tree = (struct tree){.disk = -1, .limbo = -1};
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if ((mkdirat(fd, "disk", 0755) && errno != EEXIST) ||
        (mkdirat(fd, "limbo", 0700) && errno != EEXIST))
        return -errno;
    tree->disk = openat(fd, "disk", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tree->limbo = openat(fd, "limbo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)close(fd);
    empty_limbo(tree->limbo);
    return tree->disk < 0 || tree->limbo < 0 ? -errno : start(tree);
}

static void forget_names(struct tree *tree, struct names *names)
{
    while (names->count > 0)
        node_drop(tree, names->list[--names->count].node);
}

/* Drops all changes that wait and all names; the disk stays as it is. */
static void forget_all(struct tree *tree)
{
    for (size_t i = 0; i < tree->changes_count; i++)
        change_free(tree, tree->changes[i]);
    tree->changes_count = 0;
    for (struct node *node = tree->all; node; node = node->next) {
        node->gone = true;
        node_hold(node); /* so that the list stands still while names go */
    }
    node_drop(tree, tree->root);
    struct node *last = tree->all;
    for (struct node *node = last; node; node = node->next) {
        forget_names(tree, &node->now);
        forget_names(tree, &node->disk);
    }
    while (last) {
        struct node *next = last->next;
        node_drop(tree, last);
        last = next;
    }
}

int tree_cut(struct tree *tree, enum cut how, uint64_t seed)
{
    uint64_t random = seed;
    size_t survive = how == CUT_TORN ? draw(&random) % (tree->changes_count + 1) : 0;
    for (size_t i = 0; i < survive; i++)
        change_apply(tree, tree->changes[i]);
    for (const struct node *node = tree->all; how == CUT_TORN && node; node = node->next)
        if (node->kind == NODE_FILE && !node->gone)
            dirty_tear(&node->dirty, node->fd, &random);
    forget_all(tree);
    return start(tree);
}

void tree_close(struct tree *tree)
{
    forget_all(tree);
    free(tree->changes);
    (void)close(tree->disk);
    (void)close(tree->limbo);
}
