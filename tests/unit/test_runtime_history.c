/* What a user sees of a training: its history as CSV, cut and continued on resuming, whole after any kill; its
 * progress line. */
#define _GNU_SOURCE /* nftw */
#include <criterion/criterion.h>

#include "runtime/file.h"
#include "runtime/pending.h"
#include "tests/unit/temporary_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static PdnError error;

TestSuite(history, .init = enter_folder, .fini = leave_folder);

#define OK(call) cr_assert_eq((call), PDN_OK, "%s", error.message)

static void expect_file(const char *path, const char *expected) {
    char text[8192];
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    size_t count = fread(text, 1, sizeof text - 1, file);
    text[count] = 0;
    fclose(file);
    cr_assert_str_eq(text, expected);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

/* Files in the folder, "." files too. */
static int file_count(void) {
    int count = 0;
    DIR *dir = opendir(".");
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    }
    closedir(dir);
    return count;
}

static PdnHistory *begin(bool resume, int64_t epoch, int64_t step) {
    PdnHistory *history = NULL;
    OK(pdn_history_open("h.csv", resume, epoch, step, &history, &error));
    return history;
}

static void add(PdnHistory *history, int64_t epoch, int64_t step, double loss) {
    PdnHistoryRow row = {epoch, step, loss, 1e-3, 0.5 * (double)epoch};
    OK(pdn_history_add(history, &row, &error));
}

Test(history, table) {
    PdnHistory *history = begin(false, 0, 0);
    cr_assert_neq(pdn_history_report(history, "psnr", 1, 2, &error), PDN_OK);
    add(history, 1, 25, 0.1);
    OK(pdn_history_report(history, "psnr", 29.5, 0.25, &error));
    add(history, 2, 50, 1.0 / 3);
    add(history, 3, 75, NAN);
    OK(pdn_history_report(history, "noise, \"hard\"", -INFINITY, NAN, &error));
    OK(pdn_history_report(history, "psnr", 1, 1, &error));
    OK(pdn_history_report(history, "psnr", 30, NAN, &error)); /* the later one counts */
    OK(pdn_history_report(history, "loss", 7, 0, &error));    /* is not the column loss */
    cr_assert_eq(pdn_history_rows(history), 3);
    cr_assert_eq(pdn_history_seconds(history), 1.5);
    cr_assert_neq(access("h.csv", F_OK), 0); /* nothing before it is asked for */
    OK(pdn_history_write(history, &error));
    expect_file("h.csv",
                "epoch,step,loss,rate,seconds,psnr_mean,psnr_std,"
                "\"noise, \"\"hard\"\"_mean\",\"noise, \"\"hard\"\"_std\",loss_mean,loss_std\n"
                "1,25,0.1,0.001,0.5,29.5,0.25,,,,\n"
                "2,50,0.3333333333333333,0.001,1,,,,,,\n"
                "3,75,nan,0.001,1.5,30,,-inf,,7,0\n");
    pdn_history_free(history);
    /* what was written reads back as it was, whatever stands in it */
    history = begin(true, 99, 999);
    cr_assert_eq(pdn_history_rows(history), 3);
    cr_assert_eq(pdn_history_seconds(history), 1.5);
    OK(pdn_history_report(history, "noise, \"hard\"", 5, 6, &error));
    OK(pdn_history_write(history, &error));
    expect_file("h.csv",
                "epoch,step,loss,rate,seconds,psnr_mean,psnr_std,"
                "\"noise, \"\"hard\"\"_mean\",\"noise, \"\"hard\"\"_std\",loss_mean,loss_std\n"
                "1,25,0.1,0.001,0.5,29.5,0.25,,,,\n"
                "2,50,0.3333333333333333,0.001,1,,,,,,\n"
                "3,75,nan,0.001,1.5,30,,5,6,7,0\n");
    pdn_history_free(history);
    pdn_history_free(NULL);
}

/* A training that is stopped after any epoch, with later rows written or not, and goes on: the same file. */
Test(history, resuming_gives_the_same_file) {
    char whole[4096];
    for (int stop = 0; stop <= 6; stop++) {
        for (int further = 0; further <= 2; further++) { /* rows behind the checkpoint */
            PdnHistory *history = begin(false, 0, 0);
            for (int pass = 0; pass < 2; pass++) {
                int first = pass ? stop + 1 : 1, last = pass ? 6 : stop + further;
                if (pass) {
                    pdn_history_free(history);
                    history = begin(true, stop, 10 * stop);
                    cr_assert_eq(pdn_history_rows(history), stop);
                    cr_assert_eq(pdn_history_seconds(history), 0.5 * stop);
                }
                for (int epoch = first; epoch <= last; epoch++) {
                    bool lost = !pass && epoch > stop; /* will be cut off */
                    add(history, epoch, 10 * epoch, 1.0 / epoch + lost);
                    if (epoch % 2 == 0) {
                        OK(pdn_history_report(history, "x", epoch, lost, &error));
                    }
                    OK(pdn_history_write(history, &error));
                }
            }
            OK(pdn_history_write(history, &error));
            pdn_history_free(history);
            if (stop == 0 && further == 0) {
                FILE *file = fopen("h.csv", "rb");
                whole[fread(whole, 1, sizeof whole - 1, file)] = 0;
                fclose(file);
            } else {
                expect_file("h.csv", whole);
            }
        }
    }
}

Test(history, cut_by_steps_where_there_are_no_epochs) {
    PdnHistory *history = begin(false, 0, 0);
    for (int step = 100; step <= 500; step += 100) { add(history, 0, step, 1); }
    OK(pdn_history_write(history, &error));
    pdn_history_free(history);
    history = begin(true, 0, 300);
    cr_assert_eq(pdn_history_rows(history), 3);
    pdn_history_free(history);
    cr_assert_eq(unlink("h.csv"), 0); /* no file: no rows */
    history = begin(true, 0, 300);
    cr_assert_eq(pdn_history_rows(history), 0);
    pdn_history_free(history);
}

/* What other programs make of it, and the user's own columns, are kept. */
Test(history, of_other_programs) {
    write_file("h.csv", "\"epoch\",step,loss,rate,seconds,\"my, own\"\r\n"
                        "1,2,0.50,1e-3,\"4.25\",\"a\nb\"\r\n\r\n2,3,,,7,x");
    PdnHistory *history = begin(true, 1, 9);
    cr_assert_eq(pdn_history_seconds(history), 4.25);
    add(history, 2, 3, 8);
    OK(pdn_history_report(history, "p", 1, 2, &error));
    OK(pdn_history_write(history, &error));
    expect_file("h.csv", "epoch,step,loss,rate,seconds,\"my, own\",p_mean,p_std\n"
                         "1,2,0.50,1e-3,4.25,\"a\nb\",,\n"
                         "2,3,8,0.001,1,,1,2\n");
    pdn_history_free(history);
}

Test(history, what_is_refused) {
    static const struct {
        const char *text, *part;
    } rows[] = {
        {"", "h.csv is no history of a training"},
        {"epoch,step,loss,rate\n", "h.csv is no history of a training"},
        {"x,y\n1,2\n", "move it away"},
        {"epoch,step,loss,rate,seconds\n1,2,3,4\n", "h.csv, line 2: it has more or fewer cells"},
        {"epoch,step,loss,rate,seconds\n1,2,3,4,5,6\n", "h.csv, line 2: it has more or fewer"},
        {"epoch,step,loss,rate,seconds\n1,2,3,4,5\n\n-1,2,3,4,5\n", "line 4: it does not begin"},
        {"epoch,step,loss,rate,seconds\n1.5,2,3,4,5\n", "line 2: it does not begin with an epoch"},
        {"epoch,step,loss,rate,seconds\n1,99999999999999999999,3,4,5\n",
         "line 2: it does not begin"},
        {"epoch,step,loss,rate,seconds\n1,2,\"3,4,5\n", "line 2: a quotation mark is not closed"},
        {"epoch,step,loss,rate,seconds,a\n1,2,3,4,5,\"a\nb\"\n1,2,\"3\"x,4,5,\n",
         "line 4: text stands behind a quotation mark"},
    };
    PdnHistory *history;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file("h.csv", rows[i].text);
        error.message[0] = 0;
        cr_assert_eq(pdn_history_open("h.csv", true, 99, 99, &history, &error), PDN_ERROR_FORMAT);
        cr_assert_not_null(strstr(error.message, rows[i].part), "%s", error.message);
        cr_assert_null(history);
        expect_file("h.csv", rows[i].text); /* it stays */
    }
    FILE *file = fopen("h.csv", "wb");
    fwrite("epoch,step,loss,rate,seconds\n1,2,\0,4,5\n", 1, 39, file);
    fclose(file);
    cr_assert_eq(pdn_history_open("h.csv", true, 9, 9, &history, &error), PDN_ERROR_FORMAT);
    cr_assert_not_null(strstr(error.message, "line 2: it has a zero byte"), "%s", error.message);
    cr_assert_eq(pdn_history_open("none/h.csv", false, 0, 0, &history, &error), PDN_ERROR_OPEN);
    cr_assert_not_null(strstr(error.message, "there is no folder none/"), "%s", error.message);
    cr_assert_eq(mkdir("folder", 0777), 0);
    for (int resume = 0; resume < 2; resume++) {
        cr_assert_eq(pdn_history_open("folder", resume, 0, 0, &history, &error), PDN_ERROR_OPEN);
    }
    cr_assert_eq(truncate("h.csv", (INT64_C(1) << 28) + 1), 0);
    cr_assert_eq(pdn_history_open("h.csv", true, 9, 9, &history, &error), PDN_ERROR_LIMIT);
    history = begin(false, 0, 0); /* a new one does not mind */
    OK(pdn_history_write(history, &error));
    pdn_history_free(history);
    expect_file("h.csv", "epoch,step,loss,rate,seconds\n");
}

/* kill -9 at any moment: the file is whole, with all rows up to some epoch, never fewer than before. */
Test(history, survives_being_killed) {
    int64_t known = 0;
    /* longer until rows are written, on a slow machine or under valgrind */
    useconds_t patience = 2000;
    for (int kills = 0; kills < 30; kills++) {
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            PdnHistory *history;
            if (pdn_history_open("h.csv", true, INT64_MAX, INT64_MAX, &history, NULL)) { _exit(1); }
            for (int64_t epoch = pdn_history_rows(history) + 1;; epoch++) {
                PdnHistoryRow row = {epoch, 10 * epoch, 0.25, 0.001, (double)epoch};
                if (pdn_history_add(history, &row, NULL) || pdn_history_write(history, NULL)) {
                    _exit(1);
                }
            }
        }
        usleep(patience + (useconds_t)(733 * kills));
        if (known == 0 && patience < 500000) { patience *= 2; }
        kill(child, SIGKILL);
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status));
        PdnHistory *history = begin(true, INT64_MAX, INT64_MAX);
        int64_t rows = pdn_history_rows(history);
        cr_assert_geq(rows, known);
        cr_assert_eq(pdn_history_seconds(history), (double)rows);
        known = rows;
        pdn_history_free(history);
    }
    cr_assert_gt(known, 10);
    cr_assert_eq(file_count(), 1); /* and nothing else is left */
}

Test(history, what_killed_runs_left_is_removed) {
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        Pending pending;
        FILE *file;
        const char *temp;
        pending_begin(&pending);
        if (pending_open(&pending, "h.csv", &file, &temp, NULL)) { _exit(1); }
        raise(SIGKILL);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(file_count(), 1);
    pdn_history_free(begin(false, 0, 0));
    cr_assert_eq(file_count(), 0);
}

/* ---- the progress line ----------------------------------------------------------------------- */

static const char *line_of(const PdnTraining *t, int width, bool utf8, const char *label,
                           int64_t first, int64_t first_samples, double seconds) {
    static char line[512];
    pdn_progress_training_text(line, sizeof line, width, utf8, label, t, first, first_samples,
                               seconds);
    return line;
}

Test(training_line, text) {
    PdnTraining t = {.epoch = 3,
                     .epochs = 20,
                     .step = 15,
                     .steps = 25,
                     .samples = 1040,
                     .loss = 0.0012345,
                     .rate = 1e-3};
    /* 65 steps, 1040 samples, in 100 seconds; 435 steps are left */
    cr_assert_str_eq(
        line_of(&t, 100, true, "", 0, 0, 100),
        "epoch 3/20 ██████░░░░ 60%  loss 0.00123  rate 0.001  10.4 samples/s  11:10 left");
    cr_assert_str_eq(line_of(&t, 100, false, "net", 0, 0, 100),
                     "net  epoch 3/20 ######.... 60%  loss 0.00123  rate 0.001  10.4 samples/s  "
                     "11:10 left");
    /* it went on after 60 steps, and 960 samples: 5 steps in 100 seconds */
    cr_assert_str_eq(
        line_of(&t, 100, false, "", 60, 960, 100),
        "epoch 3/20 ######.... 60%  loss 0.00123  rate 0.001  0.8 samples/s  2:25:00 left");
    cr_assert_str_eq(line_of(&t, 100, false, "", 60, 960, 1e7),
                     "epoch 3/20 ######.... 60%  loss 0.00123  rate 0.001  8e-6 samples/s  "
                     "10069 days left");
    /* at the start nothing is known of the time, nor of the loss */
    t.loss = NAN;
    cr_assert_str_eq(line_of(&t, 100, false, "", 65, 1040, 0),
                     "epoch 3/20 ######.... 60%  rate 0.001");
    t = (PdnTraining){.step = 499, .steps = 500, .loss = 1.5e12, .rate = 1e-5};
    cr_assert_str_eq(line_of(&t, 100, false, "", 0, 0, 49.9),
                     "step 499/500 #########. 99%  loss 1.5e12  rate 1e-5  10 steps/s  0:01 left");
    t.step = 500;
    cr_assert_str_eq(line_of(&t, 100, false, "", 0, 0, 50),
                     "step 500/500 ########## 100%  loss 1.5e12  rate 1e-5  10 steps/s  0:00 left");
    t = (PdnTraining){.step = 7, .loss = -INFINITY, .rate = NAN}; /* until something holds */
    cr_assert_str_eq(line_of(&t, 100, false, "", 0, 0, 7), "step 7  loss -inf  1 steps/s");
}

/* Never wider than the terminal, and the parts that matter most stay. */
Test(training_line, fits_the_terminal) {
    PdnTraining t = {.epoch = 3,
                     .epochs = 20,
                     .step = 15,
                     .steps = 25,
                     .samples = 1040,
                     .loss = 0.0012345,
                     .rate = 1e-3};
    for (int width = 0; width < 120; width++) {
        const char *line = line_of(&t, width, true, "größe", 0, 0, 100);
        int columns = 0;
        for (const char *c = line; *c; c++) { columns += ((unsigned char)*c & 0xc0) != 0x80; }
        cr_assert_leq(columns, width, "%d: %s", width, line);
        if (width >= 10) { cr_assert_not_null(strstr(line, "epoch 3/20")); }
        if (width >= 28) { cr_assert_not_null(strstr(line, "loss")); }
    }
    cr_assert_str_eq(line_of(&t, 70, false, "", 0, 0, 100),
                     "epoch 3/20 60%  loss 0.00123  rate 0.001  10.4 samples/s  11:10 left");
    cr_assert_str_eq(line_of(&t, 74, false, "", 0, 0, 100),
                     "epoch 3/20 ###.. 60%  loss 0.00123  rate 0.001  10.4 samples/s  11:10 left");
    cr_assert_str_eq(line_of(&t, 57, false, "", 0, 0, 100),
                     "epoch 3/20 60%  loss 0.00123  10.4 samples/s  11:10 left");
    const char *all = "größe  epoch 3/20 #####..... 50%  loss 1";
    t = (PdnTraining){.epoch = 3, .epochs = 20, .step = 1, .steps = 2, .loss = 1, .rate = NAN};
    cr_assert_str_eq(line_of(&t, 40, false, "größe", 0, 0, 0), all);
    cr_assert_str_neq(line_of(&t, 39, false, "größe", 0, 0, 0), all);
    char small[20];
    pdn_progress_training_text(small, sizeof small, 100, true, "", &t, 0, 0, 100);
    cr_assert_str_eq(small, "epoch 3/20");
}

Test(training_line, shown_on_a_terminal_only) {
    PdnTraining t = {
        .epoch = 1, .epochs = 2, .step = 1, .steps = 25, .samples = 16, .loss = 1, .rate = 1};
    FILE *file = tmpfile();
    PdnProgress progress;
    pdn_progress_begin(&progress, file, "net", 10);
    progress.last -= 1;
    pdn_progress_training(&progress, &t);
    pdn_progress_end(&progress);
    fseek(file, 0, SEEK_END);
    cr_assert_eq(ftell(file), 0);
    fclose(file);
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) { cr_skip("no pseudo-terminals"); }
    file = fdopen(open(ptsname(master), O_RDWR | O_NOCTTY), "r+");
    cr_assert_not_null(file);
    setenv("LC_ALL", "C", 1);
    pdn_progress_begin(&progress, file, "net", 10);
    pdn_progress_training(&progress, &t); /* too early */
    t.step = 5;
    progress.last -= 1;
    for (int i = 0; i < 100; i++) { pdn_progress_training(&progress, &t); /* one line only */ }
    pdn_progress_clear(&progress);
    pdn_progress_clear(&progress); /* nothing to remove */
    setenv("LC_ALL", "de_DE.UTF-8", 1);
    progress.last -= 1;
    pdn_progress_training(&progress, &t);
    pdn_progress_end(&progress);
    char text[1024] = "";
    ssize_t length = 0;
    struct pollfd ready = {.fd = master, .events = POLLIN};
    while (length < 1000 && poll(&ready, 1, 300) > 0 && ready.revents & POLLIN) {
        ssize_t more = read(master, text + length, (size_t)(1000 - length));
        cr_assert_gt(more, 0);
        length += more;
    }
    static const char *const parts[] = {"\rnet  epoch 1/2 ##........ 20%  loss 1  rate 1",
                                        "\033[K\r\033[K", "\rnet  epoch 1/2 ██░░░░░░░░ 20%",
                                        "\033[K\r\033[K"};
    const char *at = text;
    for (int i = 0; i < 4; i++) {
        const char *found = strstr(at, parts[i]);
        cr_assert_not_null(found, "part %d of %s", i, text);
        cr_assert(i % 2 == 1 || found == at, "part %d of %s", i, text);
        at = found;
        at += strlen(parts[i]);
    }
    cr_assert_eq(*at, 0);
    fclose(file);
    close(master);
}
