/* status.c: names of statuses, and how messages are made. */
#include "runtime/file.h"

#include <stdarg.h>
#include <string.h>

const char *pdn_status_name(PdnStatus status) {
    switch (status) {
    case PDN_OK: return "ok";
    case PDN_ERROR_ARGUMENT: return "wrong argument";
    case PDN_ERROR_SIZE: return "sizes do not fit";
    case PDN_ERROR_MEMORY: return "not enough memory";
    case PDN_ERROR_OPEN: return "file cannot be opened, read or written";
    case PDN_ERROR_FORMAT: return "file is broken or of another kind";
    case PDN_ERROR_LIMIT: return "beyond the limits";
    case PDN_ERROR_STOPPED: return "stopped";
    case PDN_ERROR_DIVERGED: return "not finite";
    case PDN_ERROR_UNCONVERGED: return "a solver did not converge";
    }
    return "unknown status";
}

/* Bytes of the UTF-8 character that begins here (RFC 3629); 0: not one, or a control character. */
static int character_length(const unsigned char *at) {
    int length = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < ' ' || at[0] == 0x7f || (at[0] >= 0x80 && at[0] < 0xc2) || at[0] > 0xf4) {
        return 0;
    }
    unsigned char low = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;  /* not overlong */
    unsigned char high = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf; /* no surrogate */
    if (length > 1 && (at[1] < low || at[1] > high)) { return 0; }
    for (int i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) { return 0; }
    }
    return length;
}

/* Names of files, and what stands in them, may hold anything: nothing of it must reach a terminal. */
static void clean(char *text) {
    for (unsigned char *at = (unsigned char *)text; *at;) {
        int length = character_length(at);
        if (length == 0) { *at = '?'; }
        at += length == 0 ? 1 : length;
    }
}

PdnStatus pdn_fail(PdnError *error, PdnStatus status, const char *format, ...) {
    if (error) {
        char text[8192];
        const size_t room = sizeof error->message - 1, head = 160, tail = room - head - 5;
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        size_t length = strlen(text);
        if (length > room) { /* a long path: the reason stands at the end */
            memcpy(text + head, " ... ", 5);
            memmove(text + head + 5, text + length - tail, tail + 1);
        }
        clean(text);
        memcpy(error->message, text, strlen(text) + 1);
    }
    return status;
}

PdnBytesText pdn_bytes_text(int64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    PdnBytesText text;
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    snprintf(text.text, sizeof text.text, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}
