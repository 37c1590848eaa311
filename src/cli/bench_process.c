/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc/PID/stat and the CPU clock of other processes. */
#include "cli/bench_process.h"

#include "cli/bench.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    STAT_LINE_MAX = 1024,
    /* Fields of /proc/PID/stat, counted behind the command's ')'. */
    FIELD_USER = 11,
    FIELD_SYSTEM = 12,
    FIELD_RSS = 21,
};

static double seconds_of(struct timespec t)
{
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One line of /proc; false when there is none. */
static bool read_line(const char *path, const char *starts_with, char *line, int room)
{
    FILE *file = fopen(path, "re");
    bool found = false;

    if (file == NULL)
        return false;
    while (!found && fgets(line, room, file) != NULL)
        found = strncmp(line, starts_with, strlen(starts_with)) == 0;
    fclose(file);
    return found;
}

static void add_stat(struct process_use *use, pid_t pid)
{
    char path[64], line[STAT_LINE_MAX];
    char *rest = NULL;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_line(path, "", line, sizeof(line)) || strrchr(line, ')') == NULL)
        return;
    char *word = strtok_r(strrchr(line, ')') + 1, " ", &rest);
    for (int field = 0; word != NULL; field++) {
        double value = strtod(word, NULL);
        if (field == FIELD_USER)
            use->user_s += value / (double)sysconf(_SC_CLK_TCK);
        else if (field == FIELD_SYSTEM)
            use->system_s += value / (double)sysconf(_SC_CLK_TCK);
        else if (field == FIELD_RSS)
            use->rss_bytes += (uint64_t)value * (uint64_t)sysconf(_SC_PAGESIZE);
        word = strtok_r(NULL, " ", &rest);
    }
}

static void add_written(struct process_use *use, pid_t pid)
{
    static const char name[] = "write_bytes:";
    char path[64], line[STAT_LINE_MAX];

    snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
    if (!read_line(path, name, line, sizeof(line))) {
        use->written_known = false;
        return;
    }
    use->written_bytes += strtoull(line + strlen(name), NULL, 10);
}

struct process_use process_use_of(const pid_t *pids, uint32_t count)
{
    struct process_use use = {.written_known = count > 0};

    for (uint32_t i = 0; i < count; i++) {
        clockid_t clock;
        struct timespec now;
        add_stat(&use, pids[i]);
        add_written(&use, pids[i]);
        if (clock_getcpuclockid(pids[i], &clock) == 0 && clock_gettime(clock, &now) == 0)
            use.cpu_s += seconds_of(now);
    }
    return use;
}

struct process_use process_use_between(struct process_use a, struct process_use b)
{
    return (struct process_use){
        .cpu_s = b.cpu_s - a.cpu_s,
        .user_s = b.user_s - a.user_s,
        .system_s = b.system_s - a.system_s,
        .rss_bytes = b.rss_bytes,
        .written_bytes = b.written_bytes - a.written_bytes,
        .written_known = a.written_known && b.written_known,
    };
}

double process_own_cpu_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return seconds_of(now);
}

uint64_t process_kernel_tcp_bytes(void)
{
    char line[STAT_LINE_MAX];

    if (!read_line("/proc/net/sockstat", "TCP:", line, sizeof(line)))
        return 0;
    const char *memory = strstr(line, " mem ");
    return memory != NULL
               ? strtoull(memory + strlen(" mem "), NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

void process_prepare(int cpu)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    prctl(PR_SET_TIMERSLACK, 1UL); /* an open loop sends when it is due */
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set) != 0)
            bench_fail(EX_OSERR, "cannot run on CPU %d: %s", cpu, strerror(errno));
    }
}
