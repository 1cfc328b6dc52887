/* progress.c: one line on a terminal that says how far a long loop, or a training, is. */
#define _GNU_SOURCE /* strcasestr */
#include "runtime/pdn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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
    progress->first = -1;
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

/* Columns that a line may have: one that wraps cannot be cleared. */
static int columns(const PdnProgress *progress) {
    struct winsize size;
    bool known = ioctl(fileno(progress->to), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col - 1 : 79;
}

/* Is a line due? Notes its time. */
static bool due(PdnProgress *progress, double time) {
    if (time - progress->last < INTERVAL) { return false; }
    progress->last = time;
    return true;
}

static void show(PdnProgress *progress, const char *line, int bytes) {
    fprintf(progress->to, "\r%.*s\033[K", bytes, line);
    fflush(progress->to);
    progress->shown = true;
}

void pdn_progress_update(PdnProgress *progress, int64_t done) {
    double time = progress->to ? now() : 0;
    if (!progress->to || !due(progress, time)) { return; }
    char line[160];
    pdn_progress_text(line, sizeof line, progress->label, done, progress->total,
                      time - progress->start);
    show(progress, line, columns(progress));
}

void pdn_progress_clear(PdnProgress *progress) {
    if (progress->to && progress->shown) {
        fputs("\r\033[K", progress->to);
        fflush(progress->to);
    }
    progress->shown = false;
}

void pdn_progress_end(PdnProgress *progress) {
    pdn_progress_clear(progress);
    progress->to = NULL;
}

/* ---- training ---------------------------------------------------------------------- */

#define BAR       10 /* columns, where there is room */
#define SHORT_BAR 4

/* A part of the line. Where there is no room for all, what is worth least goes first. */
typedef struct {
    char text[96];
    int columns;
    int worth;
} Part;
enum { LABEL, EPOCH, PERCENT, LOSS, RATE, SPEED, LEFT, PARTS };

static int count_columns(const char *text) {
    int count = 0;
    for (; *text; text++) { count += ((unsigned char)*text & 0xc0) != 0x80; }
    return count;
}

/* "%.3g", with 1e-5 for 1e-05. */
static void short_number(double value, char *to, size_t room) {
    snprintf(to, room, "%.3g", value);
    char *exponent = strchr(to, 'e'), *digits = exponent ? exponent + 2 : NULL;
    while (digits && *digits == '0' && digits[1]) { memmove(digits, digits + 1, strlen(digits)); }
    if (exponent && exponent[1] == '+') {
        memmove(exponent + 1, exponent + 2, strlen(exponent + 1));
    }
}

static void time_left(double seconds, char *to, size_t room) {
    int64_t s = seconds < 1e9 ? (int64_t)ceil(seconds) : 1000000000;
    if (s >= 360000) {
        snprintf(to, room, "%lld days left", (long long)((s + 43200) / 86400));
    } else if (s >= 3600) {
        snprintf(to, room, "%lld:%02lld:%02lld left", (long long)(s / 3600),
                 (long long)(s / 60 % 60), (long long)(s % 60));
    } else {
        snprintf(to, room, "%lld:%02lld left", (long long)(s / 60), (long long)(s % 60));
    }
}

/* Steps that are done in all, and how many there are. */
static int64_t steps_done(const PdnTraining *t) {
    return (t->epochs > 0 ? (t->epoch - 1) * t->steps : 0) + t->step;
}
static int64_t steps_total(const PdnTraining *t) {
    return t->epochs > 0 ? t->epochs * t->steps : t->steps;
}

static void make_parts(Part parts[PARTS], const char *label, const PdnTraining *t, int64_t first,
                       int64_t first_samples, double seconds) {
    static const int worth[PARTS] = {3, 7, 6, 5, 1, 2, 4};
    char number[32];
    for (int p = 0; p < PARTS; p++) { parts[p] = (Part){.worth = worth[p]}; }
    snprintf(parts[LABEL].text, sizeof parts[LABEL].text, "%s", label);
    bool epochs = t->epochs > 0;
    int64_t at = epochs ? t->epoch : t->step, of = epochs ? t->epochs : t->steps;
    snprintf(parts[EPOCH].text, sizeof parts[EPOCH].text, of > 0 ? "%s %lld/%lld" : "%s %lld",
             epochs ? "epoch" : "step", (long long)at, (long long)of);
    if (t->steps > 0) {
        snprintf(parts[PERCENT].text, sizeof parts[PERCENT].text, "%d%%",
                 (int)(100 * (double)t->step / (double)t->steps));
    }
    if (!isnan(t->loss)) {
        short_number(t->loss, number, sizeof number);
        snprintf(parts[LOSS].text, sizeof parts[LOSS].text, "loss %s", number);
    }
    if (!isnan(t->rate)) {
        short_number(t->rate, number, sizeof number);
        snprintf(parts[RATE].text, sizeof parts[RATE].text, "rate %s", number);
    }
    double done = (double)(steps_done(t) - first);
    if (seconds > 0 && done > 0) {
        double speed = (t->samples ? (double)(t->samples - first_samples) : done) / seconds;
        short_number(speed, number, sizeof number);
        snprintf(parts[SPEED].text, sizeof parts[SPEED].text, "%s %s/s", number,
                 t->samples ? "samples" : "steps");
        double left = (double)(steps_total(t) - steps_done(t)) * seconds / done;
        if (t->steps > 0) {
            time_left(left > 0 ? left : 0, parts[LEFT].text, sizeof parts[LEFT].text);
        }
    }
    for (int p = 0; p < PARTS; p++) { parts[p].columns = count_columns(parts[p].text); }
}

/* Blanks in front of a part: one between the epoch and how much of it is done. */
static int gap(int part, int used) { return used == 0 ? 0 : part == PERCENT ? 1 : 2; }

static int total_columns(const Part parts[PARTS]) {
    int total = 0;
    for (int p = 0; p < PARTS; p++) {
        total += parts[p].columns ? parts[p].columns + gap(p, total) : 0;
    }
    return total;
}

/* Takes out what is worth least until the rest fits; the columns of the bar that fits too. */
static int fit(Part parts[PARTS], int width) {
    while (total_columns(parts) > width) {
        int least = -1;
        for (int p = 0; p < PARTS; p++) {
            bool less = least < 0 || parts[p].worth < parts[least].worth;
            if (parts[p].columns && less) { least = p; }
        }
        if (least < 0) { break; }
        parts[least].text[0] = 0;
        parts[least].columns = 0;
    }
    int room = parts[PERCENT].columns ? width - total_columns(parts) - 1 : 0;
    return room < SHORT_BAR ? 0 : room < BAR ? room : BAR;
}

void pdn_progress_training_text(char *line, size_t room, int width, bool utf8, const char *label,
                                const PdnTraining *t, int64_t first, int64_t first_samples,
                                double seconds) {
    Part parts[PARTS];
    make_parts(parts, label, t, first, first_samples, seconds);
    int bar = fit(parts, width);
    size_t used = 0;
    line[0] = 0;
    for (int p = 0; p < PARTS; p++) {
        if (!parts[p].columns) { continue; }
        char filled[4 * BAR + 1] = "";
        for (int64_t i = 0; p == PERCENT && i < bar; i++) {
            bool full = (i + 1) * t->steps <= bar * t->step;
            strcat(filled, full ? (utf8 ? "\u2588" : "#") : (utf8 ? "\u2591" : "."));
        }
        int length = snprintf(line + used, room - used, "%*s%s%s%s", gap(p, (int)used), "", filled,
                              *filled ? " " : "", parts[p].text);
        if (length < 0 || (size_t)length >= room - used) {
            line[used] = 0; /* whole parts only */
            return;
        }
        used += (size_t)length;
    }
}

static bool speaks_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) { return strcasestr(value, "utf-8") || strcasestr(value, "utf8"); }
    }
    return false;
}

void pdn_progress_training(PdnProgress *progress, const PdnTraining *training) {
    if (!progress->to) { return; }
    double time = now();
    if (progress->first < 0) {
        progress->first = steps_done(training);
        progress->first_samples = training->samples;
        progress->start = time;
    }
    if (!due(progress, time)) { return; }
    char line[512];
    pdn_progress_training_text(line, sizeof line, columns(progress), speaks_utf8(), progress->label,
                               training, progress->first, progress->first_samples,
                               time - progress->start);
    show(progress, line, (int)strlen(line));
}
