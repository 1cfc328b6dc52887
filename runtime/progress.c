/* progress.c: one line on a terminal that says how far a long loop is. */
#include "runtime/pdn.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL 0.1 /* seconds between two lines */
#define DELAY    0.5 /* a loop that is done by then shows nothing */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pdn_progress_begin(PdnProgress *progress, FILE *to, const char *label, int64_t total) {
    memset(progress, 0, sizeof *progress);
    int fd = to ? fileno(to) : -1;
    progress->to = fd >= 0 && isatty(fd) ? to : NULL;
    snprintf(progress->label, sizeof progress->label, "%s", label ? label : "");
    progress->total = total;
    progress->start = now();
    progress->last = progress->start + DELAY - INTERVAL;
}

void pdn_progress_text(char *line, size_t room, const char *label, int64_t done, int64_t total,
                       double seconds) {
    double rate = seconds > 0 ? (double)done / seconds : 0;
    size_t used =
        (size_t)snprintf(line, room, "%s%s%lld", label, *label ? " " : "", (long long)done);
    if (total > 0 && used < room) {
        used += (size_t)snprintf(line + used, room - used, "/%lld (%d %%)", (long long)total,
                                 (int)(100 * (double)done / (double)total));
    }
    if (rate > 0 && used < room) {
        used += (size_t)snprintf(line + used, room - used, ", %.3g/s", rate);
    }
    if (total > 0 && rate > 0 && used < room) {
        double left = (double)(total > done ? total - done : 0) / rate;
        if (left < 90) {
            snprintf(line + used, room - used, ", %.0f s left", left);
        } else if (left < 5400) {
            snprintf(line + used, room - used, ", %.0f min left", left / 60);
        } else {
            snprintf(line + used, room - used, ", %.1f h left", left / 3600);
        }
    }
}

void pdn_progress_update(PdnProgress *progress, int64_t done) {
    if (!progress->to) { return; }
    double time = now();
    if (time - progress->last < INTERVAL) { return; }
    progress->last = time;
    char line[160];
    pdn_progress_text(line, sizeof line, progress->label, done, progress->total,
                      time - progress->start);
    struct winsize size;
    int width = 79;
    if (ioctl(fileno(progress->to), TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
        width = size.ws_col - 1; /* a line that wraps cannot be cleared */
    }
    fprintf(progress->to, "\r%.*s\033[K", width, line);
    fflush(progress->to);
    progress->shown = true;
}

void pdn_progress_end(PdnProgress *progress) {
    if (progress->to && progress->shown) {
        fputs("\r\033[K", progress->to);
        fflush(progress->to);
    }
    progress->to = NULL;
}
