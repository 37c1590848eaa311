/* SPDX-License-Identifier: Apache-2.0 */
/* Messages about the configuration: file, line, key, what was expected. */
#include "config/error.h"

#include <stdarg.h>
#include <stdio.h>

/* Control characters of a file never reach the terminal, and a message stays one line. */
static char fit_to_show(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
}

bool config_error_set(struct config_error *error, struct config_place place, const char *format,
                      ...)
{
    size_t room = sizeof(error->text);
    char line[16] = "";
    va_list args;

    if (place.line > 0)
        snprintf(line, sizeof(line), ":%d", place.line);
    bool keyed = place.path != NULL && place.path[0] != '\0';
    int used = snprintf(error->text, room, "%.400s%s: %.200s%s", place.name, line,
                        keyed ? place.path : "", keyed ? ": " : "");
    va_start(args, format);
    if (used >= 0 && (size_t)used < room)
        vsnprintf(error->text + used, room - (size_t)used, format, args);
    va_end(args);
    for (char *at = error->text; *at != '\0'; at++)
        *at = fit_to_show(*at);
    return false;
}

const char *config_quote(const char *text, size_t len, char out[CONFIG_QUOTE_MAX])
{
    static const char dots[] = "...'";
    size_t fits = CONFIG_QUOTE_MAX - 1 - sizeof(dots);
    size_t shown = len <= fits ? len : fits;
    char *at = out;

    /* A cut never leaves half a character: UTF-8 continuation bytes at the end go too. */
    while (shown < len && shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    *at++ = '\'';
    for (size_t i = 0; i < shown; i++)
        *at++ = fit_to_show(text[i]);
    snprintf(at, sizeof(dots), "%s", shown < len ? dots : "'");
    return out;
}
