/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/control.h"

#include "admin/server.h"
#include "base/check.h"
#include "base/log.h"
#include "broker/api.h"
#include "broker/node.h"
#include "net/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { CONTROL_BACKLOG = 128 };

static int cannot_open(const char *path, int error)
{
    bool taken = error == EADDRINUSE;

    fprintf(stderr, "skein: control socket %s: %s\n", path,
            taken ? "another broker uses this data directory; -d names another one"
                  : strerror(error));
    LOG(LOG_ERROR, "broker.cannot_open_control_socket", log_text("path", path),
        log_text("error", strerror(error)));
    return taken ? BROKER_EXIT_UNAVAILABLE : BROKER_EXIT_IO;
}

int control_open(struct control *control, const char *data_dir)
{
    int len = snprintf(control->path, sizeof(control->path), "%s/%s", data_dir, CONTROL_SOCKET);

    control->fd = -1;
    if (len < 0 || (size_t)len >= sizeof(control->path))
        return cannot_open(data_dir, ENAMETOOLONG);
    control->fd = unix_socket_listen(control->path, 0600, CONTROL_BACKLOG);
    return control->fd < 0 ? cannot_open(control->path, errno) : BROKER_EXIT_OK;
}

void control_start(struct control *control, struct broker *broker)
{
    control->server = admin_server_start(&(struct admin_server_options){
        .listening_fd = control->fd,
        .table = api_resources,
        .line_fd = -1,
        .context = broker,
        .limits = &server_limits_trusted,
        .name = "admin",
    });
    control->fd = -1;
    CHECK(control->server != NULL);
}

void control_stop(struct control *control)
{
    admin_server_stop(control->server);
    if (control->fd >= 0)
        close(control->fd);
    unlink(control->path);
}

void control_deinit(struct control *control)
{
    admin_server_free(control->server);
}
