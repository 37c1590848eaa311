/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a queue that is on disk alone. */
#include "session/stored_fixture.h"

#include "base/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* A session whose client is away, with messages 1 to last of QoS 1 and a client id of its own. */
static struct session *away_with(struct stored *s, int last)
{
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1, last, 1);
    return session;
}

static void set_limit(struct stored *s, uint32_t messages, enum queue_policy policy)
{
    s->f.table.limits.queue_messages_max = messages;
    s->f.table.limits.queue_policy = policy;
}

/* Nothing is left of any queue, in memory or on disk. */
static void assert_all_gone(struct stored *s)
{
    assert_int_equal(stored_keys(s, STORE_QUEUE), 0);
    assert_int_equal(s->f.table.shared.count, 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 0);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_BYTES), 0);
    assert_int_equal(metric(&s->f, METRIC_INFLIGHT_MESSAGES), 0);
}

/* ---- in order ------------------------------------------------------------------------------- */

static void queue_of_an_absent_client_is_on_disk_alone(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 1000);
    assert_int_equal(session->queue->count, 0);
    assert_null(session->queue->ring);
    assert_int_equal(queue_size(session->queue), 1000);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 1000);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 1000);
}

static void queue_larger_than_memory_drains_in_order(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 5 * QUEUE_HEAD_MESSAGES);
    come(s, session);
    take_numbers(s, session, 1, 5 * QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

static void queue_drains_in_order_after_a_restart(void **state)
{
    struct stored *s = *state;
    away_with(s, 5 * QUEUE_HEAD_MESSAGES);
    crash_and_load(s);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 5 * QUEUE_HEAD_MESSAGES);
    struct session *session = found(s, "client");
    come(s, session);
    take_numbers(s, session, 1, 5 * QUEUE_HEAD_MESSAGES);
    assert_all_gone(s);
}

static void queue_in_memory_never_grows_beyond_its_head(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    s->f.client.sink.hold = true;
    deliver_numbers(session, 1, 2000, 1);
    settle(s);
    assert_true(session->queue->count <= QUEUE_HEAD_MESSAGES);
    assert_int_equal(queue_size(session->queue), 2000);
    s->f.client.sink.hold = false;
    session_pump(session);
    take_numbers(s, session, 1, 2000);
    assert_all_gone(s);
}

static void queue_drains_in_order_while_more_comes(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 600);
    int last = 600, next = 1;
    come(s, session);
    for (int idle = 0; idle < 2;) {
        if (last < 1200) {
            deliver_numbers(session, last + 1, last + 7, 1);
            last += 7;
        }
        durable_turn(&s->d); /* reads and commits may be under way, or not */
        uint32_t count = s->f.client.count;
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(atoi(s->f.client.packets[i].payload), next++);
        s->f.client.count = 0;
        for (uint32_t i = 0; i < count; i++)
            session_puback(session, packet_id_of((uint64_t)(next - (int)count) + i));
        if (count == 0)
            settle(s);
        idle = count == 0 && s->f.client.count == 0 && last >= 1200 ? idle + 1 : 0;
    }
    assert_int_equal(next, last + 1);
    assert_all_gone(s);
}

static void queue_of_qos2_drains_in_order(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1, 700, 2);
    come(s, session);
    take_numbers(s, session, 1, 700);
    assert_all_gone(s);
}

/* ---- clients that come and go --------------------------------------------------------------- */

static void client_that_leaves_during_a_read_gets_all_of_it_later(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 1000);
    settle(s);
    come(s, session); /* asks for the first of them */
    session_detach(session, SESSION_WILL_KEEP);
    settle(s);
    assert_int_equal(queue_size(session->queue), 1000);
    come(s, session);
    take_numbers(s, session, 1, 1000);
    assert_all_gone(s);
}

static void client_that_leaves_and_comes_during_a_read_gets_all_of_it(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 1000);
    settle(s);
    come(s, session);
    session_detach(session, SESSION_WILL_KEEP);
    come(s, session);
    take_numbers(s, session, 1, 1000);
    assert_all_gone(s);
}

/* Some stand in memory when the next read is asked for; they are on disk alone again before it
 * comes back. */
static void client_that_leaves_with_messages_in_memory_during_a_read_loses_none(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 1000);
    session->table->limits.inflight_max = 20;
    come(s, session);
    settle(s);
    uint64_t next = 1;
    while (!session->queue->tail.reading) /* until the ring runs low */
        assert_int_equal(session_puback(session, packet_id_of(next++)), RC_OK);
    session_detach(session, SESSION_WILL_KEEP);
    settle(s);
    come(s, session);
    take_numbers(s, session, (int)next, 1000);
    assert_all_gone(s);
}

static void client_that_comes_back_before_the_read_does_loses_none(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 1000);
    session->table->limits.inflight_max = 20;
    come(s, session);
    settle(s);
    uint64_t next = 1;
    while (!session->queue->tail.reading)
        assert_int_equal(session_puback(session, packet_id_of(next++)), RC_OK);
    session_detach(session, SESSION_WILL_KEEP);
    come(s, session);
    take_numbers(s, session, (int)next, 1000);
    assert_all_gone(s);
}

static void client_that_goes_again_and_again_loses_none(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 1500);
    int next = 1;
    for (int visit = 0; next <= 1500; visit++) {
        come(s, session);
        if (visit % 3 == 0)
            durable_turn(&s->d);
        else
            settle(s);
        int got = (int)s->f.client.count, taken = got * 2 / 3 + (got > 0);
        for (int i = 0; i < got; i++)
            assert_int_equal(atoi(s->f.client.packets[i].payload), next + i);
        s->f.client.hold_at = 0;
        s->f.client.sink.hold = true; /* it reads nothing more */
        for (int i = 0; i < taken; i++)
            acknowledge(session, &s->f.client.packets[i]);
        next += taken;
        session_detach(session, SESSION_WILL_KEEP);
        assert_true(visit < 1000);
    }
    settle(s);
    assert_all_gone(s);
}

static void message_acknowledged_out_of_order_does_not_come_again(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver_numbers(session, 1, 90, 1);
    for (uint16_t id = 2; id < 90; id++)
        assert_int_equal(session_puback(session, id), RC_OK);
    session_detach(session, SESSION_WILL_KEEP);
    assert_int_equal(queue_size(session->queue), 2);
    deliver(session, "91", 1);
    come(s, session);
    settle(s);
    assert_sent(&s->f, "1 90 91");
    for (int i = 0; i < 3; i++)
        session_puback(session, s->f.client.packets[i].packet_id);
    assert_all_gone(s);
}

static void qos0_of_an_absent_client_stays_in_memory(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    s->f.table.limits.queue_qos0_offline = true;
    session_detach(session, SESSION_WILL_KEEP);
    deliver(session, "1", 1);
    deliver(session, "zero", 0);
    deliver(session, "2", 1);
    come(s, session);
    settle(s);
    assert_int_equal(s->f.client.count, 3);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 2);
    session_puback(session, 1);
    session_puback(session, 2);
    assert_all_gone(s);
}

static void message_that_expired_on_disk_is_not_sent(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str("short"),
                            .qos = 1,
                            .received_ms = START_MS - 101000,
                            .has_expiry = true,
                            .expiry_s = 100};
    session_detach(session, SESSION_WILL_KEEP);
    deliver_publication(session, &p, &(struct deliver_as){.qos = 1});
    deliver(session, "long", 1);
    come(s, session);
    settle(s);
    assert_sent(&s->f, "long");
    assert_int_equal(metric(&s->f, METRIC_PUBLISH_DROPPED_EXPIRED), 1);
    session_puback(session, s->f.client.packets[0].packet_id);
    assert_all_gone(s);
}

static void deliver_for(struct session *session, const char *payload, uint32_t expiry_s)
{
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str(payload),
                            .qos = 1,
                            .received_ms = START_MS,
                            .has_expiry = true,
                            .expiry_s = expiry_s};
    deliver_publication(session, &p, &(struct deliver_as){.qos = 1});
}

static void message_is_not_sent_that_had_expired_before_a_home_that_died_could_send_it(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    session_detach(session, SESSION_WILL_KEEP);
    deliver_for(session, "sent before", 100);
    deliver_for(session, "too late", 100);
    deliver_for(session, "perhaps sent", 250);
    struct session_record record = {.client_id = session_client_id(session),
                                    .expiry_s = LONG_S,
                                    .connected = true,
                                    .at_wall_ms = clock_wall_ms() + 200000,
                                    .next_sequence = 4,
                                    .sent_sequence = 2};
    struct store_key key = record_key_of(session->store->shard, RECORD_SESSION, session->number);
    struct record_value value;
    session_record_encode(&record, &value);
    record_put(session->store, STORE_STATE, &key, &value);
    stored_crash(s);
    stored_load(s, 300000);
    session = found(s, "client");
    come(s, session);
    settle(s);
    assert_sent(&s->f, "sent before perhaps sent");
    assert_true(s->f.client.packets[0].dup);
    assert_true(s->f.client.packets[1].dup);
    assert_int_equal(metric(&s->f, METRIC_PUBLISH_DROPPED_EXPIRED), 1);
}

/* ---- damage --------------------------------------------------------------------------------- */

/* Writes the queues' table and flips a byte of it; below 0: so far from its end. */
static void damage_table(struct stored *s, off_t at)
{
    char error[ENGINE_ERROR_MAX], path[DIR_ROOM + 256];
    int tables = 0;
    settle(s);
    assert_int_equal(engine_flush(store_engine(s->d.store), STORE_QUEUE, error), RC_OK);
    DIR *folder = opendir(s->d.dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat status;
        snprintf(path, sizeof(path), "%s/%s", s->d.dir, entry->d_name);
        if (strstr(entry->d_name, ".sst") == NULL)
            continue;
        assert_int_equal(stat(path, &status), 0);
        if (status.st_size < 16 * 1024)
            continue; /* not one of queues */
        int fd = open(path, O_RDWR | O_CLOEXEC);
        uint8_t byte;
        off_t from_begin = at < 0 ? status.st_size + at : at;
        assert_int_equal(pread(fd, &byte, 1, from_begin), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, from_begin), 1);
        close(fd);
        tables++;
    }
    closedir(folder);
    assert_int_equal(tables, 1);
}

/* Acknowledges all that comes; gives how many, in order, of the numbers from first to last. */
static int take_some(struct stored *s, struct session *session, int first, int last)
{
    int taken = 0;
    for (settle(s); s->f.client.count > 0; settle(s)) {
        static struct packet packets[PACKETS_MAX];
        uint32_t count = s->f.client.count;
        memcpy(packets, s->f.client.packets, count * sizeof(*packets));
        s->f.client.count = 0;
        for (uint32_t i = 0; i < count; i++, taken++) {
            int number = atoi(packets[i].payload);
            assert_in_range(number, first, last);
            first = number + 1;
            acknowledge(session, &packets[i]);
        }
    }
    return taken;
}

static void damage_in_a_queue_costs_what_is_in_it_and_is_counted(void **state)
{
    struct stored *s = *state;
    struct session *session = away_with(s, 2000);
    damage_table(s, 50000);
    come(s, session);
    int taken = take_some(s, session, 1, 2000);
    assert_in_range(taken, 1800, 1999);
    assert_int_equal(metric(&s->f, METRIC_PUBLISH_DROPPED_DAMAGED), 2000 - taken);
    assert_int_equal(queue_size(session->queue), 0);
    deliver(session, "2001", 1);
    take_numbers(s, session, 2001, 2001);
}

/* Nothing that can be read is behind it. */
static void damage_at_the_end_of_a_queue_is_counted_too(void **state)
{
    enum { BEHIND_MESSAGES = 2500 }; /* more than an index of a table so small takes */
    struct stored *s = *state;
    struct session *session = away_with(s, 2000);
    damage_table(s, -BEHIND_MESSAGES);
    come(s, session);
    int taken = take_some(s, session, 1, 1999);
    assert_in_range(taken, 1800, 1999);
    assert_int_equal(metric(&s->f, METRIC_PUBLISH_DROPPED_DAMAGED), 2000 - taken);
    assert_int_equal(metric(&s->f, METRIC_QUEUED_MESSAGES), 0);
    deliver(session, "2001", 1);
    take_numbers(s, session, 2001, 2001);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void queue_on_disk_has_the_limits_of_any(void **state)
{
    struct stored *s = *state;
    set_limit(s, 5, QUEUE_REJECT_NEW);
    struct session *session = away_with(s, 5);
    assert_int_equal(deliver(session, "6", 1), NOT_DELIVERED);
    assert_int_equal(metric(&s->f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 1);
    come(s, session);
    take_numbers(s, session, 1, 5);
    assert_all_gone(s);
}

static void queue_on_disk_gives_up_its_oldest(void **state)
{
    struct stored *s = *state;
    set_limit(s, 100, QUEUE_GIVE_UP_OLDEST);
    struct session *session = away_with(s, 1000);
    assert_int_equal(metric(&s->f, METRIC_PUBLISH_DROPPED_QUEUE_FULL), 900);
    assert_int_equal(queue_size(session->queue), 100);
    come(s, session);
    take_numbers(s, session, 901, 1000);
    assert_all_gone(s);
}

static void queue_that_gave_up_its_oldest_is_the_same_after_a_restart(void **state)
{
    struct stored *s = *state;
    set_limit(s, 100, QUEUE_GIVE_UP_OLDEST);
    away_with(s, 300);
    crash_and_load(s);
    struct session *session = found(s, "client");
    come(s, session);
    settle(s);
    int first = atoi(s->f.client.packets[0].payload);
    assert_in_range(first, 1, 201);
    take_numbers(s, session, first, 300);
    assert_all_gone(s);
}

static void queue_gives_up_its_oldest_during_a_read(void **state)
{
    struct stored *s = *state;
    set_limit(s, 400, QUEUE_GIVE_UP_OLDEST);
    struct session *session = away_with(s, 400);
    settle(s);
    come(s, session);
    assert_true(session->queue->tail.reading);
    deliver_numbers(session, 401, 450, 1); /* 50 go before they were read */
    take_numbers(s, session, 51, 450);
    assert_all_gone(s);
}

/* Numbers that are missing count for none. */
static void queue_with_holes_gives_up_its_oldest_and_no_others(void **state)
{
    struct stored *s = *state;
    set_limit(s, 10, QUEUE_GIVE_UP_OLDEST);
    struct session *session = connected(&s->f, LONG_S);
    deliver_numbers(session, 1, 50, 1);
    for (uint16_t id = 2; id < 50; id++)
        session_puback(session, id);
    session_detach(session, SESSION_WILL_KEEP); /* 1 and 50 are left */
    deliver_numbers(session, 51, 75, 1);
    come(s, session);
    settle(s);
    int first = atoi(s->f.client.packets[0].payload);
    assert_in_range(first, 50, 66);
    take_numbers(s, session, first, 75);
    assert_all_gone(s);
}

/* A client that never acknowledged the first of many leaves more holes than a read brings. */
static void queue_with_many_holes_is_drained_to_its_end(void **state)
{
    struct stored *s = *state;
    set_limit(s, 300, QUEUE_GIVE_UP_OLDEST);
    struct session *session = connected(&s->f, LONG_S);
    deliver(session, "1", 1);
    for (int n = 2; n <= 1200; n++) {
        deliver_numbers(session, n, n, 1);
        session_puback(session, packet_id_of((uint64_t)n));
        s->f.client.count = 0;
    }
    session_detach(session, SESSION_WILL_KEEP);
    deliver_numbers(session, 1201, 2000, 1);
    come(s, session);
    settle(s);
    int first = atoi(s->f.client.packets[0].payload);
    assert_in_range(first, 1, 1701);
    take_numbers(s, session, first, 2000);
    assert_all_gone(s);
}

static void queue_with_many_holes_and_room_for_one_forgets_none(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    deliver_numbers(session, 1, 90, 1);
    for (uint16_t id = 2; id < 90; id++)
        session_puback(session, id);
    session_detach(session, SESSION_WILL_KEEP); /* 1 and 90 are left */
    set_limit(s, 1, QUEUE_GIVE_UP_OLDEST);
    deliver_numbers(session, 91, 93, 1);
    come(s, session);
    take_numbers(s, session, 93, 93);
    assert_all_gone(s);
}

/* ---- messages that several share ------------------------------------------------------------ */

enum { MEMBERS = 6 };

/* Sessions whose clients are away. */
static void members_of(struct stored *s, struct session *members[MEMBERS])
{
    char client_id[TEXT_ROOM];
    for (int i = 0; i < MEMBERS; i++) {
        snprintf(client_id, sizeof(client_id), "member%d", i);
        members[i] = session_of(&s->f, client_id);
        attach(&s->f, members[i], LONG_S);
        session_detach(members[i], SESSION_WILL_KEEP);
    }
}

static uint32_t shards_of(struct session *members[MEMBERS])
{
    uint32_t seen = 0;
    for (int i = 0; i < MEMBERS; i++)
        seen |= 1u << members[i]->store->shard;
    return (uint32_t)__builtin_popcount(seen);
}

static void deliver_to_all(struct stored *s, struct session *members[MEMBERS], const char *payload)
{
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str(payload),
                            .qos = 1,
                            .received_ms = s->f.table.now_ms};
    struct delivery delivery = {.publication = &p, .many = true};
    for (int i = 0; i < MEMBERS; i++)
        assert_int_equal(session_deliver(members[i], &delivery, &(struct deliver_as){.qos = 1}),
                         DELIVERED);
    message_drop(delivery.message);
    mem_free(delivery.copies);
}

static void take_one(struct stored *s, struct session *session, const char *payload)
{
    come(s, session);
    settle(s);
    assert_sent(&s->f, payload);
    session_puback(session, s->f.client.packets[0].packet_id);
    session_detach(session, SESSION_WILL_KEEP);
}

static void shared_message_is_stored_once_a_shard_and_gone_with_its_last_queue(void **state)
{
    struct stored *s = *state;
    struct session *members[MEMBERS];
    members_of(s, members);
    assert_in_range(shards_of(members), 2, STORES);
    deliver_to_all(s, members, "all");
    assert_int_equal(stored_keys(s, STORE_QUEUE), MEMBERS + shards_of(members));
    for (int i = 0; i < MEMBERS; i++)
        take_one(s, members[i], "all");
    assert_all_gone(s);
}

static void shared_message_survives_a_restart(void **state)
{
    struct stored *s = *state;
    struct session *members[MEMBERS];
    char client_id[TEXT_ROOM];
    members_of(s, members);
    deliver_to_all(s, members, "all");
    take_one(s, members[2], "all");
    crash_and_load(s);
    for (int i = 0; i < MEMBERS; i++) {
        if (i == 2)
            continue;
        snprintf(client_id, sizeof(client_id), "member%d", i);
        take_one(s, found(s, client_id), "all");
    }
    assert_all_gone(s);
}

static void shared_message_is_gone_when_sessions_end(void **state)
{
    struct stored *s = *state;
    struct session *members[MEMBERS];
    char payload[TEXT_ROOM];
    members_of(s, members);
    for (int n = 0; n < 300; n++) {
        snprintf(payload, sizeof(payload), "%d", n);
        deliver_to_all(s, members, payload);
    }
    settle(s);
    for (int i = 0; i < MEMBERS; i++)
        session_end(members[i]);
    assert_all_gone(s);
    assert_int_equal(stored_keys(s, STORE_STATE), 0);
}

static void message_of_queues_that_give_up_their_oldest_is_not_shared(void **state)
{
    struct stored *s = *state;
    struct session *members[MEMBERS];
    char payload[TEXT_ROOM];
    members_of(s, members);
    set_limit(s, 100, QUEUE_GIVE_UP_OLDEST);
    for (int n = 0; n < 1000; n++) {
        snprintf(payload, sizeof(payload), "%d", n);
        deliver_to_all(s, members, payload);
        if (n % 100 == 99)
            settle(s);
    }
    assert_int_equal(s->f.table.shared.count, 0);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 100 * MEMBERS);
    for (int i = 0; i < MEMBERS; i++) {
        come(s, members[i]);
        take_numbers(s, members[i], 900, 999);
    }
    assert_all_gone(s);
}

static void shared_message_is_gone_when_its_exchanges_are_released(void **state)
{
    struct stored *s = *state;
    struct session *session = connected(&s->f, LONG_S);
    struct publication p = {.topic = bytes_of_str("t"),
                            .payload = bytes_of_str("a"),
                            .qos = 2,
                            .received_ms = START_MS};
    struct delivery delivery = {.publication = &p, .many = true};
    session_deliver(session, &delivery, &(struct deliver_as){.qos = 2});
    message_drop(delivery.message);
    mem_free(delivery.copies);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 2);
    assert_sent(&s->f, "a");
    session_pubrec(session, 1, false);
    assert_int_equal(stored_keys(s, STORE_QUEUE), 1);
    session_pubcomp(session, 1);
    assert_all_gone(s);
}

/* ---- the end of a session ------------------------------------------------------------------- */

/* How many records it takes to delete a session that has so many messages. */
static uint64_t records_of_the_end(struct stored *s, int messages)
{
    struct session *session = away_with(s, messages);
    settle(s);
    store_end_figures(s->d.end);
    session_end(session);
    settle(s);
    assert_all_gone(s);
    return store_end_figures(s->d.end).records;
}

/* A deleted range would stay in memory as long as its table is on the disk. */
static void short_queue_of_an_ended_session_is_deleted_one_by_one(void **state)
{
    assert_in_range(records_of_the_end(*state, 20), 20, 30);
}

static void long_queue_of_an_ended_session_is_deleted_as_a_range(void **state)
{
    assert_in_range(records_of_the_end(*state, 200), 1, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED_RULE(queue_of_an_absent_client_is_on_disk_alone),
        STORED_RULE(queue_larger_than_memory_drains_in_order),
        STORED_RULE(queue_drains_in_order_after_a_restart),
        STORED_RULE(queue_in_memory_never_grows_beyond_its_head),
        STORED_RULE(queue_drains_in_order_while_more_comes),
        STORED_RULE(queue_of_qos2_drains_in_order),
        STORED_RULE(client_that_leaves_during_a_read_gets_all_of_it_later),
        STORED_RULE(client_that_leaves_and_comes_during_a_read_gets_all_of_it),
        STORED_RULE(client_that_leaves_with_messages_in_memory_during_a_read_loses_none),
        STORED_RULE(client_that_comes_back_before_the_read_does_loses_none),
        STORED_RULE(client_that_goes_again_and_again_loses_none),
        STORED_RULE(message_acknowledged_out_of_order_does_not_come_again),
        STORED_RULE(qos0_of_an_absent_client_stays_in_memory),
        STORED_RULE(message_that_expired_on_disk_is_not_sent),
        STORED_RULE(message_is_not_sent_that_had_expired_before_a_home_that_died_could_send_it),
        STORED_RULE(damage_in_a_queue_costs_what_is_in_it_and_is_counted),
        STORED_RULE(damage_at_the_end_of_a_queue_is_counted_too),
        STORED_RULE(queue_on_disk_has_the_limits_of_any),
        STORED_RULE(queue_on_disk_gives_up_its_oldest),
        STORED_RULE(queue_that_gave_up_its_oldest_is_the_same_after_a_restart),
        STORED_RULE(queue_gives_up_its_oldest_during_a_read),
        STORED_RULE(queue_with_holes_gives_up_its_oldest_and_no_others),
        STORED_RULE(queue_with_many_holes_is_drained_to_its_end),
        STORED_RULE(queue_with_many_holes_and_room_for_one_forgets_none),
        STORED_RULE(shared_message_is_stored_once_a_shard_and_gone_with_its_last_queue),
        STORED_RULE(shared_message_survives_a_restart),
        STORED_RULE(shared_message_is_gone_when_sessions_end),
        STORED_RULE(message_of_queues_that_give_up_their_oldest_is_not_shared),
        STORED_RULE(shared_message_is_gone_when_its_exchanges_are_released),
        STORED_RULE(short_queue_of_an_ended_session_is_deleted_one_by_one),
        STORED_RULE(long_queue_of_an_ended_session_is_deleted_as_a_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
