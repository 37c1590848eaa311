/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/registration.h"

#include "base/check.h"
#include "base/memory.h"

#include <unistd.h>

/* ---- ids ---------------------------------------------------------------------------------------
 */

static bool grow(struct tunnel_slots *slots, uint32_t id)
{
    uint32_t room = slots->room == 0 ? 16 : slots->room;
    if (id >= TUNNELS_MAX)
        return false;
    while (room <= id)
        room *= 2;
    if (room == slots->room)
        return true;
    slots->at = mem_resize(slots->at, room * sizeof(*slots->at));
    slots->free = mem_resize(slots->free, room * sizeof(*slots->free));
    memset(slots->at + slots->room, 0, (room - slots->room) * sizeof(*slots->at));
    slots->room = room;
    return true;
}

bool slots_take(struct tunnel_slots *slots, void *end, uint32_t *id)
{
    if (slots->free_count > 0)
        *id = slots->free[--slots->free_count];
    else if (grow(slots, slots->used))
        *id = slots->used++;
    else
        return false;
    slots->at[*id] = end;
    return true;
}

bool slots_put(struct tunnel_slots *slots, void *end, uint32_t id)
{
    if (!grow(slots, id) || slots->at[id] != NULL)
        return false;
    slots->at[id] = end;
    if (id >= slots->used)
        slots->used = id + 1;
    return true;
}

void *slots_get(const struct tunnel_slots *slots, uint32_t id)
{
    return id < slots->used ? slots->at[id] : NULL;
}

void slots_release(struct tunnel_slots *slots, uint32_t id)
{
    slots->at[id] = NULL;
    if (slots->free_count < slots->room)
        slots->free[slots->free_count++] = id;
}

void slots_free(struct tunnel_slots *slots)
{
    mem_free(slots->at);
    mem_free(slots->free);
    *slots = (struct tunnel_slots){0};
}

/* ---- how much is under way ---------------------------------------------------------------------
 */

bool flow_take(struct tunnel_flow *flow, size_t len)
{
    flow->received += len;
    return flow->received - flow->credited <= TUNNEL_WINDOW;
}

bool flow_credit(struct tunnel_flow *flow, uint64_t worked_off)
{
    if (worked_off < flow->worked_off || worked_off > flow->sent)
        return false;
    flow->worked_off = worked_off;
    return true;
}

void flow_give(struct tunnel_flow *flow, struct link *link, uint32_t id)
{
    uint8_t body[TUNNEL_CREDIT_SIZE];
    if (flow->received - flow->credited < TUNNEL_CREDIT_STEP)
        return;
    tunnel_credit_write(id, flow->received, body);
    if (link_send(link, LINK_TUNNEL_CREDIT, 0, bytes_of(body, sizeof(body))))
        flow->credited = flow->received;
}

size_t flow_send(struct tunnel_flow *flow, struct link *link, uint32_t id, struct bytes bytes,
                 struct message *message)
{
    uint8_t head[TUNNEL_ID_SIZE];
    size_t room = flow_room(flow), done = 0;
    link_write_u32(head, id);
    if (room > bytes.len)
        room = bytes.len;
    while (done < room && !link_is_high(link)) {
        size_t len = room - done < TUNNEL_PIECE ? room - done : TUNNEL_PIECE;
        if (!link_send_parts(link, LINK_TUNNEL_DATA, 0, bytes_of(head, sizeof(head)),
                             bytes_of(bytes.data + done, len), message))
            break;
        done += len;
    }
    flow->sent += done;
    return done;
}

void tunnel_say_end(struct link *link, uint32_t id, enum tunnel_end why)
{
    uint8_t body[TUNNEL_ID_SIZE];
    link_write_u32(body, id);
    link_send(link, LINK_TUNNEL_END, (uint8_t)why, bytes_of(body, sizeof(body)));
}

/* ---- orders ------------------------------------------------------------------------------------
 */

enum tunnel_order_kind { ORDER_OUT, ORDER_IN, ORDER_CLOSE, ORDER_HOMES };

struct tunnel_order {
    struct mail mail;
    struct tunnels *tunnels;
    enum tunnel_order_kind kind;
    uint32_t remote, home_worker;
    int fd;
    size_t unread_len;
    uint8_t unread[];
};

static void close_links(struct tunnels *tunnels, uint32_t remote)
{
    LIST_FOR_EACH_SAFE (node, &tunnels->outs) {
        struct tunnel_out *out = CONTAINER_OF(node, struct tunnel_out, node);
        if (out->remote == remote && out->state == TUNNEL_OPEN)
            link_abort(&out->link);
    }
    LIST_FOR_EACH_SAFE (node, &tunnels->ins) {
        struct tunnel_in *in = CONTAINER_OF(node, struct tunnel_in, node);
        if (in->remote == remote)
            link_abort(&in->link);
    }
}

static void homes_changed(struct tunnels *tunnels)
{
    registrations_homes_changed(tunnels->registrations);
    tunnels->is.clients->homes_changed(tunnels->is.clients_owner);
    registrations_all_said(tunnels->registrations);
    registrations_admit_held(tunnels->registrations);
}

static void open_order(struct mail *mail, void *receiver)
{
    struct tunnel_order *order = CONTAINER_OF(mail, struct tunnel_order, mail);
    struct tunnels *tunnels = order->tunnels;
    struct bytes unread = bytes_of(order->unread, order->unread_len);
    (void)receiver;
    if (tunnels->closed && order->fd >= 0)
        close(order->fd);
    else if (tunnels->closed)
        ;
    else if (order->kind == ORDER_OUT)
        tunnel_out_reached(tunnels, order->remote, order->home_worker, order->fd, unread);
    else if (order->kind == ORDER_IN)
        tunnel_in_open(tunnels, order->remote, order->fd, unread);
    else if (order->kind == ORDER_CLOSE)
        close_links(tunnels, order->remote);
    else
        homes_changed(tunnels);
    mem_free(order);
}

static void post(struct tunnels *tunnels, const struct tunnel_order *what, struct bytes unread)
{
    struct tunnel_order *order = mem_new(sizeof(*order) + unread.len);
    *order = *what;
    order->mail.open = open_order;
    order->tunnels = tunnels;
    order->unread_len = unread.len;
    if (unread.len > 0)
        memcpy(order->unread, unread.data, unread.len);
    mailbox_post(tunnels->is.mailbox, &order->mail.letter);
}

void tunnels_post_out(struct tunnels *tunnels, uint32_t remote, uint32_t home_worker, int fd,
                      struct bytes unread)
{
    post(tunnels,
         &(struct tunnel_order){
             .kind = ORDER_OUT, .remote = remote, .home_worker = home_worker, .fd = fd},
         unread);
}

void tunnels_post_in(struct tunnels *tunnels, uint32_t remote, int fd, struct bytes unread)
{
    post(tunnels, &(struct tunnel_order){.kind = ORDER_IN, .remote = remote, .fd = fd}, unread);
}

void tunnels_post_close(struct tunnels *tunnels, uint32_t remote)
{
    post(tunnels, &(struct tunnel_order){.kind = ORDER_CLOSE, .remote = remote, .fd = -1},
         bytes_of(NULL, 0));
}

void tunnels_post_homes_changed(struct tunnels *tunnels)
{
    post(tunnels, &(struct tunnel_order){.kind = ORDER_HOMES, .fd = -1}, bytes_of(NULL, 0));
}

uint64_t tunnels_told(const struct tunnels *tunnels, uint32_t group)
{
    return registrations_told(tunnels->registrations, group);
}

/* ---- make and unmake ---------------------------------------------------------------------------
 */

struct tunnels *tunnels_new(uint32_t worker, const struct tunnels_ops *ops, void *owner)
{
    struct tunnels *tunnels = NEW(struct tunnels);
    tunnels->worker = worker;
    tunnels->ops = ops;
    tunnels->owner = owner;
    list_init(&tunnels->outs);
    list_init(&tunnels->ins);
    list_init(&tunnels->edges);
    list_init(&tunnels->cutting);
    loop_timer_init(&tunnels->cutter, edges_cut);
    tunnels->registrations = registrations_new(tunnels);
    return tunnels;
}

void tunnels_join(struct tunnels *tunnels, const struct cluster_worker *is)
{
    tunnels->is = *is;
}

void tunnels_close(struct tunnels *tunnels)
{
    tunnels->closed = true;
    edges_close(tunnels);
    loop_timer_stop(tunnels->is.loop, &tunnels->cutter);
    LIST_FOR_EACH_SAFE (node, &tunnels->ins)
        tunnel_in_close(CONTAINER_OF(node, struct tunnel_in, node));
    registrations_close(tunnels->registrations);
}

void tunnels_free(struct tunnels *tunnels)
{
    if (tunnels == NULL)
        return;
    CHECK(list_empty(&tunnels->edges) && list_empty(&tunnels->outs) && list_empty(&tunnels->ins));
    registrations_free(tunnels->registrations);
    mem_free(tunnels);
}
