/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power_loss_fs FOLDER MOUNTPOINT: a file system that forgets at a power cut what was not synced.
 *
 * FOLDER/disk holds what would be left; see tree.h for the rules. It says "ready" on standard
 * output and takes commands on standard input, each answered with one line:
 *
 *     cut drop         everything that was not synced is gone; open files are dead
 *     cut torn SEED    some of it survives, drawn from SEED
 *     delay US         each sync takes up to so many microseconds more (0)
 *     stall            syncs wait, until their process dies or for
 *     resume           an end of that
 *     pending          how many changes of names and how many bytes are not synced
 *     waiting          how many syncs there are now, while stalled those that wait
 *
 * At the end of its input it unmounts and ends. Nothing is cached by the kernel.
 */
#define FUSE_USE_VERSION 35

#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    CLOSES_S = 2,     /* the kernel reports the last closes within this */
    STALL_US = 10000, /* a stalled sync looks so often whether it is over */
};

struct power_loss_fs {
    pthread_mutex_t mutex; /* around the tree */
    pthread_cond_t closed; /* `open_count` has become 0 */
    unsigned open_count;   /* files and directories */
    struct tree tree;
    uint64_t random;
    unsigned delay_us;
    bool stalled;
    unsigned waiting; /* syncs, while stalled */
};

static struct power_loss_fs *lock(void)
{
    struct power_loss_fs *fs = fuse_get_context()->private_data;
    (void)pthread_mutex_lock(&fs->mutex);
    return fs;
}

/* Gives the result of an operation. */
static int unlock(struct power_loss_fs *fs, int result)
{
    (void)pthread_mutex_unlock(&fs->mutex);
    return result;
}

static struct node *opened(const struct fuse_file_info *info)
{
    return (struct node *)(uintptr_t)info->fh; /* NOLINT(performance-no-int-to-ptr) */
}

/* The node of an open file, or of a path. */
static struct node *node_of(struct power_loss_fs *fs, const char *path,
                            const struct fuse_file_info *info)
{
    return info && info->fh ? opened(info) : tree_find(&fs->tree, path);
}

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->use_ino = 1;
    config->hard_remove = 1;
    config->nullpath_ok = 1;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    return fuse_get_context()->private_data;
}

static int fs_getattr(const char *path, struct stat *out, struct fuse_file_info *info)
{
    struct power_loss_fs *fs = lock();
    const struct node *node = node_of(fs, path, info);
    if (node == NULL)
        return unlock(fs, -ENOENT);
    *out = (struct stat){
        .st_ino = node->number,
        .st_mode = node->mode,
        .st_nlink = node->kind == NODE_DIRECTORY ? 2 : node->names_now,
        .st_uid = getuid(),
        .st_gid = getgid(),
        .st_size = node->kind == NODE_FILE ? (off_t)node->dirty.size : 0,
        .st_blksize = 4096,
        .st_mtim = node->changed,
        .st_ctim = node->changed,
        .st_atim = node->changed,
    };
    out->st_blocks = (out->st_size + 511) / 512;
    if (node->kind == NODE_DIRECTORY)
        out->st_mode = S_IFDIR | (node->mode & 07777);
    else if (node->kind == NODE_FILE)
        out->st_mode = S_IFREG | (node->mode & 07777);
    return unlock(fs, 0);
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)offset, (void)flags;
    struct power_loss_fs *fs = lock();
    const struct node *node = node_of(fs, path, info);
    if (node == NULL || node->kind != NODE_DIRECTORY)
        return unlock(fs, -ENOTDIR);
    (void)fill(buffer, ".", NULL, 0, 0);
    (void)fill(buffer, "..", NULL, 0, 0);
    for (size_t i = 0; i < node->now.count; i++)
        (void)fill(buffer, node->now.list[i].text, NULL, 0, 0);
    return unlock(fs, 0);
}

static int opens(struct power_loss_fs *fs, struct node *node, struct fuse_file_info *info)
{
    fs->open_count++;
    node_hold(node);
    info->fh = (uintptr_t)node;
    info->direct_io = 1;
    return 0;
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    struct power_loss_fs *fs = lock();
    struct node *node = NULL;
    int error = tree_create(&fs->tree, path, NODE_FILE, mode, &node);
    return unlock(fs, error ? error : opens(fs, node, info));
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
    struct power_loss_fs *fs = lock();
    struct node *node = tree_find(&fs->tree, path);
    if (node == NULL || node->kind == NODE_OTHER)
        return unlock(fs, node ? -ENXIO : -ENOENT);
    if (info->flags & O_TRUNC)
        dirty_truncate(&node->dirty, 0);
    return unlock(fs, opens(fs, node, info));
}

static int fs_opendir(const char *path, struct fuse_file_info *info)
{
    struct power_loss_fs *fs = lock();
    struct node *node = tree_find(&fs->tree, path);
    return unlock(fs, node ? opens(fs, node, info) : -ENOENT);
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    struct power_loss_fs *fs = lock();
    node_drop(&fs->tree, opened(info));
    if (--fs->open_count == 0)
        (void)pthread_cond_signal(&fs->closed);
    return unlock(fs, 0);
}

static int fs_read(const char *path, char *buffer, size_t size, off_t at,
                   struct fuse_file_info *info)
{
    (void)path;
    struct power_loss_fs *fs = lock();
    const struct node *node = opened(info);
    if (node->gone)
        return unlock(fs, -EIO);
    return unlock(fs, (int)dirty_read(&node->dirty, node->fd, buffer, size, (uint64_t)at));
}

static int fs_write(const char *path, const char *buffer, size_t size, off_t at,
                    struct fuse_file_info *info)
{
    (void)path;
    struct power_loss_fs *fs = lock();
    struct node *node = opened(info);
    if (node->gone)
        return unlock(fs, -EIO);
    dirty_write(&node->dirty, buffer, size, (uint64_t)at);
    (void)clock_gettime(CLOCK_REALTIME, &node->changed);
    if (info->flags & (O_SYNC | O_DSYNC)) {
        int error = tree_sync(&fs->tree, node);
        if (error)
            return unlock(fs, error);
    }
    return unlock(fs, (int)size);
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    struct power_loss_fs *fs = lock();
    struct node *node = node_of(fs, path, info);
    if (node == NULL || node->kind != NODE_FILE)
        return unlock(fs, node ? -EINVAL : -ENOENT);
    if (node->gone)
        return unlock(fs, -EIO);
    dirty_truncate(&node->dirty, (uint64_t)size);
    (void)clock_gettime(CLOCK_REALTIME, &node->changed);
    return unlock(fs, 0);
}

static int fs_fallocate(const char *path, int mode, off_t at, off_t length,
                        struct fuse_file_info *info)
{
    (void)path;
    if (mode & ~FALLOC_FL_KEEP_SIZE)
        return -EOPNOTSUPP;
    struct power_loss_fs *fs = lock();
    struct node *node = opened(info);
    if (mode == 0 && (uint64_t)(at + length) > node->dirty.size)
        dirty_truncate(&node->dirty, (uint64_t)(at + length));
    return unlock(fs, node->gone ? -EIO : 0);
}

/* Unlocked meanwhile. */
static struct power_loss_fs *wait_unlocked(struct power_loss_fs *fs, unsigned us)
{
    (void)unlock(fs, 0);
    (void)usleep(us);
    return lock();
}

/* Also of directories, and fdatasync: the size belongs to the data. */
static int fs_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path, (void)data_only;
    struct power_loss_fs *fs = lock();
    unsigned wait_us = fs->delay_us ? (unsigned)(draw(&fs->random) % fs->delay_us) : 0;
    if (wait_us)
        fs = wait_unlocked(fs, wait_us);
    fs->waiting++;
    while (fs->stalled) {
        if (fuse_interrupted()) {
            fs->waiting--;
            return unlock(fs, -EINTR);
        }
        fs = wait_unlocked(fs, STALL_US);
    }
    fs->waiting--;
    struct node *node = opened(info);
    return unlock(fs, node->gone ? -EIO : tree_sync(&fs->tree, node));
}

static int fs_mkdir(const char *path, mode_t mode)
{
    struct power_loss_fs *fs = lock();
    struct node *node = NULL;
    return unlock(fs, tree_create(&fs->tree, path, NODE_DIRECTORY, mode, &node));
}

static int fs_mknod(const char *path, mode_t mode, dev_t device)
{
    (void)device;
    struct power_loss_fs *fs = lock();
    struct node *node = NULL;
    enum node_kind kind = S_ISREG(mode) ? NODE_FILE : NODE_OTHER;
    return unlock(fs, tree_create(&fs->tree, path, kind, mode, &node));
}

static int fs_unlink(const char *path)
{
    struct power_loss_fs *fs = lock();
    return unlock(fs, tree_remove(&fs->tree, path, NODE_FILE));
}

static int fs_rmdir(const char *path)
{
    struct power_loss_fs *fs = lock();
    return unlock(fs, tree_remove(&fs->tree, path, NODE_DIRECTORY));
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
    if (flags)
        return -EINVAL;
    struct power_loss_fs *fs = lock();
    return unlock(fs, tree_rename(&fs->tree, from, to));
}

static int fs_link(const char *from, const char *to)
{
    struct power_loss_fs *fs = lock();
    struct node *node = tree_find(&fs->tree, from);
    return unlock(fs, node ? tree_link(&fs->tree, node, to) : -ENOENT);
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
    struct power_loss_fs *fs = lock();
    struct node *node = node_of(fs, path, info);
    if (node == NULL)
        return unlock(fs, -ENOENT);
    node->mode = (node->mode & S_IFMT) | (mode & 07777);
    return unlock(fs, 0);
}

static int fs_chown(const char *path, uid_t user, gid_t group, struct fuse_file_info *info)
{
    (void)path, (void)user, (void)group, (void)info;
    return 0; /* everything belongs to who mounted it */
}

static int fs_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info)
{
    (void)path, (void)times, (void)info;
    return 0;
}

static int fs_statfs(const char *path, struct statvfs *out)
{
    (void)path;
    struct power_loss_fs *fs = lock();
    return unlock(fs, fstatvfs(fs->tree.disk, out) ? -errno : 0);
}

static const struct fuse_operations OPERATIONS = {
    .init = fs_init,
    .getattr = fs_getattr,
    .readdir = fs_readdir,
    .opendir = fs_opendir,
    .releasedir = fs_release,
    .create = fs_create,
    .open = fs_open,
    .release = fs_release,
    .read = fs_read,
    .write = fs_write,
    .truncate = fs_truncate,
    .fallocate = fs_fallocate,
    .fsync = fs_fsync,
    .fsyncdir = fs_fsync,
    .mkdir = fs_mkdir,
    .mknod = fs_mknod,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .rename = fs_rename,
    .link = fs_link,
    .chmod = fs_chmod,
    .chown = fs_chown,
    .utimens = fs_utimens,
    .statfs = fs_statfs,
};

/* ---- commands ---- */

static void pending(struct power_loss_fs *fs)
{
    uint64_t bytes = 0;
    for (const struct node *node = fs->tree.all; node; node = node->next)
        for (size_t i = 0; i < node->dirty.count; i++)
            bytes += node->dirty.extents[i].length;
    (void)printf("ok %zu names %llu bytes\n", fs->tree.changes_count, (unsigned long long)bytes);
}

static void command(struct power_loss_fs *fs, const char *line)
{
    unsigned long long number = 0;
    int error = 0;
    (void)pthread_mutex_lock(&fs->mutex);
    if (strcmp(line, "pending\n") == 0 || strcmp(line, "waiting\n") == 0) {
        if (line[0] == 'p')
            pending(fs);
        else
            (void)printf("ok %u\n", fs->waiting);
        (void)pthread_mutex_unlock(&fs->mutex);
        return;
    }
    if (strcmp(line, "cut drop\n") == 0)
        error = tree_cut(&fs->tree, CUT_DROP, 0);
    else if (sscanf(line, "cut torn %llu", &number) == 1)
        error = tree_cut(&fs->tree, CUT_TORN, number);
    else if (sscanf(line, "delay %llu", &number) == 1)
        fs->delay_us = (unsigned)number;
    else if (strcmp(line, "stall\n") == 0 || strcmp(line, "resume\n") == 0)
        fs->stalled = line[0] == 's';
    else
        error = -EINVAL;
    (void)pthread_mutex_unlock(&fs->mutex);
    (void)printf(error ? "error %s\n" : "ok\n", strerror(-error));
}

/* A close returns before the file system hears of it. */
static void wait_for_closes(struct power_loss_fs *fs)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CLOSES_S;
    (void)pthread_mutex_lock(&fs->mutex);
    fs->stalled = false;
    while (fs->open_count > 0 && pthread_cond_timedwait(&fs->closed, &fs->mutex, &until) == 0)
        continue;
    (void)pthread_mutex_unlock(&fs->mutex);
}

static void *commands(void *argument)
{
    char line[128];
    while (fgets(line, sizeof(line), stdin)) {
        command(argument, line);
        (void)fflush(stdout);
    }
    wait_for_closes(argument);
    (void)kill(getpid(), SIGTERM); /* ends the loop in main() */
    return NULL;
}

static int serve(struct power_loss_fs *fs, struct fuse *fuse)
{
    pthread_t thread;
    struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = 4};
    if (pthread_create(&thread, NULL, commands, fs))
        return 1;
    (void)pthread_detach(thread);
    (void)puts("ready");
    (void)fflush(stdout);
    (void)fuse_loop_mt(fuse, &config);
    return 0;
}

/* What libfuse 3.14 leaves when it ends, and with it all that it points to. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfuse3";
}

int main(int count, char **arguments)
{
    struct power_loss_fs fs = {
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .closed = PTHREAD_COND_INITIALIZER,
        .random = 1,
    };
    if (count != 3) {
        (void)fprintf(stderr, "usage: power_loss_fs FOLDER MOUNTPOINT\n");
        return 64;
    }
    int error = tree_open(&fs.tree, arguments[1]);
    if (error) {
        (void)fprintf(stderr, "power_loss_fs: %s: %s\n", arguments[1], strerror(-error));
        return 1;
    }
    char *options[] = {arguments[0], NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, options);
    struct fuse *fuse = fuse_new(&args, &OPERATIONS, sizeof(OPERATIONS), &fs);
    if (fuse == NULL || fuse_mount(fuse, arguments[2]))
        return 1; /* it has said why */
    int status = fuse_set_signal_handlers(fuse_get_session(fuse)) ? 1 : serve(&fs, fuse);
    fuse_unmount(fuse);
    fuse_destroy(fuse);
    fuse_opt_free_args(&args);
    (void)pthread_mutex_lock(&fs.mutex); /* after whatever the thread of commands() has done */
    tree_close(&fs.tree);
    (void)pthread_mutex_unlock(&fs.mutex);
    return status;
}
