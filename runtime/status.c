/* status.c: names of statuses, and how messages are made. */
#include "runtime/file.h"

#include <stdarg.h>

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
    }
    return "unknown status";
}

PdnStatus pdn_fail(PdnError *error, PdnStatus status, const char *format, ...) {
    if (error) {
        va_list args;
        va_start(args, format);
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
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
