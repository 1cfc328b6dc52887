/* Data sources: what is drawn, against the formulas of pdn.h computed here from Philox blocks and from
 * pictures whose every sample tells its place; that nothing else has a say in it; what is refused. */
#define _GNU_SOURCE /* nftw */
#include <criterion/criterion.h>

#include "runtime/data.h"
#include "tests/unit/temporary_folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static PdnError error;

TestSuite(data, .init = enter_folder, .fini = leave_folder);

#define OK(call) cr_assert_eq((call), PDN_OK, "%s", error.message)
#define EXPECT_FAIL(call, status, ...)                                                             \
    do {                                                                                           \
        static const char *const parts[] = {__VA_ARGS__};                                          \
        error.message[0] = 0;                                                                      \
        cr_assert_eq((call), (status), "%s", error.message);                                       \
        for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++) {                     \
            cr_assert_not_null(strstr(error.message, parts[part]), "%s", error.message);           \
        }                                                                                          \
    } while (0)

/* ---- files -------------------------------------------------------------------------------- */

static void write_bytes(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

/* 16 bits a sample, which is base + y * width + x. */
static void write_places(const char *path, int width, int height, int base) {
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    fprintf(file, "P5 %d %d 65535\n", width, height);
    for (int i = base; i < base + width * height; i++) {
        putc(i >> 8, file);
        putc(i & 255, file);
    }
    fclose(file);
}

static void write_npy(const char *path, int rank, const int64_t *shape, const float *values) {
    char header[PDN_NPY_HEADER];
    size_t length = pdn_npy_header(PDN_F32, rank, shape, header), count = 1;
    for (int axis = 0; axis < rank; axis++) { count *= (size_t)shape[axis]; }
    FILE *file = fopen(path, "wb");
    fwrite(header, 1, length, file);
    fwrite(values, sizeof(float), count, file);
    fclose(file);
}

/* An array of values 0, 1, 2, … */
static void write_counting(const char *path, int rank, const int64_t *shape) {
    size_t count = 1;
    for (int axis = 0; axis < rank; axis++) { count *= (size_t)shape[axis]; }
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) { values[i] = (float)i; }
    write_npy(path, rank, shape, values);
    free(values);
}

static const PdnDataOptions plain = PDN_DATA_OPTIONS;

static PdnDataOptions options(int64_t patch, int64_t batch, int64_t repeat) {
    PdnDataOptions o = PDN_DATA_OPTIONS;
    o.patch = patch;
    o.batch = batch;
    o.repeat = repeat;
    return o;
}

static PdnData *images(const char *path, const PdnDataOptions *o, PdnType type) {
    PdnData *data = NULL;
    OK(pdn_data_images(path, PDN_ABSENT, o, type, &data, &error));
    return data;
}

/* Everything that the loader gives of an epoch: numbers, sizes and values, as a hash. */
static uint64_t hash_epoch(const PdnData *data, PdnLoader *loader) {
    PdnBatch batch;
    PdnDataInfo info;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    pdn_data_info(data, &info);
    for (;;) {
        OK(pdn_loader_next(loader, &batch, &error));
        if (batch.count == 0) { break; }
        for (int64_t s = 0; s < batch.count; s++) {
            const PdnSample *sample = &batch.samples[s];
            hash = (hash ^ (uint64_t)sample->number) * UINT64_C(0x100000001b3);
            for (int f = 0; f < info.fields; f++) {
                const int64_t *extent = sample->field[f].extent;
                cr_assert_eq((uintptr_t)sample->field[f].data % 64, 0);
                int64_t values = sample->field[f].channels * extent[0] * extent[1] * extent[2];
                size_t bytes = (size_t)values * pdn_type_size(data->type);
                for (size_t i = 0; i < bytes; i++) {
                    hash = (hash ^ ((const uint8_t *)sample->field[f].data)[i]) *
                           UINT64_C(0x100000001b3);
                }
            }
        }
    }
    return hash;
}

static uint64_t epoch_hash(const PdnData *data, uint64_t seed, int64_t epoch, bool shuffle) {
    PdnLoader *loader;
    OK(pdn_loader_open(data, seed, epoch, 1, shuffle, &loader, &error));
    uint64_t hash = hash_epoch(data, loader);
    pdn_loader_close(loader);
    return hash;
}

/* ---- pictures ------------------------------------------------------------------------------- */

static void mixed_folder(void) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    cr_assert_eq(mkdir("photos/more", 0777), 0);
    write_places("photos/b.pgm", 7, 5, 100);
    write_places("photos/a.PGM", 4, 9, 200);
    write_places("photos/c.pgm", 1, 1, 300);
    write_places("photos/.hidden.pgm", 2, 2, 400);
    write_places("photos/more/d.pgm", 2, 2, 400);
    write_bytes("photos/notes.txt", "hello", 5);
}

static void expect_name(const PdnData *data, int64_t number, const char *expected) {
    char name[64];
    pdn_data_name(data, number, name, sizeof name);
    cr_assert_str_eq(name, expected);
}

Test(data, folder_in_order) {
    static const char *const names[] = {"photos/a.PGM", "photos/b.pgm", "photos/c.pgm"};
    mixed_folder();
    for (int type = PDN_F32; type <= PDN_F64; type++) {
        PdnData *data = images("photos/", &plain, type);
        PdnDataInfo info;
        pdn_data_info(data, &info);
        cr_assert_eq(info.fields, 1);
        cr_assert_eq(info.count, 3);
        cr_assert_eq(info.per_epoch, 3);
        cr_assert_eq(info.batch, 1);
        cr_assert_eq(info.field[0].rank, 2);
        cr_assert_eq(info.field[0].channels, 1);
        cr_assert_eq(info.field[0].extent[0], -1);
        cr_assert_eq(info.field[0].extent[1], -1);
        cr_assert_eq(info.field[0].extent[2], 1);
        cr_assert(info.decoded);
        PdnLoader *loader;
        PdnBatch batch;
        OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
        for (int i = 0; i < 3; i++) {
            OK(pdn_loader_next(loader, &batch, &error));
            cr_assert_eq(batch.count, 1);
            cr_assert_eq(batch.first, i);
            const PdnSample *sample = batch.samples;
            cr_assert_eq(sample->number, i);
            expect_name(data, i, names[i]);
            PdnArray array; /* to the bit what reads a single picture */
            OK(pdn_file_read(names[i], type, &array, &error));
            cr_assert_eq(sample->field[0].extent[0], array.shape[1]);
            cr_assert_eq(sample->field[0].extent[1], array.shape[0]);
            cr_assert_eq(sample->field[0].channels, 1);
            cr_assert(memcmp(sample->field[0].data, array.data,
                             (size_t)pdn_array_count(&array) * pdn_type_size(type)) == 0);
            pdn_array_free(&array);
        }
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(batch.count, 0);
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(batch.count, 0);
        pdn_loader_close(loader);
        pdn_data_free(data);
    }
}

Test(data, patterns_and_limits) {
    mixed_folder();
    PdnData *data = images("photos/[bc]*", &plain, PDN_F32);
    PdnDataInfo info;
    pdn_data_info(data, &info);
    cr_assert_eq(info.count, 2);
    expect_name(data, 0, "photos/b.pgm");
    pdn_data_free(data);
    data = images("*/*/*.pgm", &plain, PDN_F32);
    pdn_data_info(data, &info);
    cr_assert_eq(info.count, 1);
    cr_assert_eq(info.field[0].extent[0], 2);
    pdn_data_free(data);
    /* a folder whose name has brackets is that folder, not a pattern */
    cr_assert_eq(rename("photos", "[photos] *"), 0);
    data = images("[photos] *", &plain, PDN_F32);
    pdn_data_free(data);
    data = images("[photos] */*.pgm", &plain, PDN_F32);
    pdn_data_info(data, &info);
    cr_assert_eq(info.count, 2);
    pdn_data_free(data);
    PdnDataOptions o = plain;
    o.limit = 1; /* the second is not even looked at */
    write_bytes("[photos] */b.pgm", "nonsense", 8);
    data = images("[photos] *", &o, PDN_F32);
    pdn_data_info(data, &info);
    cr_assert_eq(info.count, 1);
    cr_assert_eq(info.field[0].extent[0], 4);
    cr_assert_eq(info.field[0].extent[1], 9);
    pdn_data_free(data);
    o.limit = 100;
    cr_assert_eq(unlink("[photos] */b.pgm"), 0);
    data = images("[photos] *", &o, PDN_F32);
    pdn_data_info(data, &info);
    cr_assert_eq(info.count, 2);
    pdn_data_free(data);
}

static double value_at(const PdnSample *sample, int64_t i) {
    return ((const double *)sample->field[0].data)[i];
}
/* The place that a sample of write_places tells. */
static int place_at(const PdnSample *sample, int64_t i) {
    return (int)lrint(value_at(sample, i) * 65535);
}

/* Uniform in {0, …, count - 1} by 32 bits, as pdn.h's promise of fixed bits wants. */
static int64_t below(uint32_t bits, int64_t count) {
    return (int64_t)(((uint64_t)bits * (uint64_t)count) >> 32);
}

/* The block of a draw, by its counter: tag, purpose and source in the second word. */
static void draw(uint64_t seed, uint32_t purpose, uint32_t source, uint64_t major, uint32_t minor,
                 uint32_t w[4]) {
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t counter[4] = {minor, 0x80000000u + purpose * 65536u + source, (uint32_t)major,
                           (uint32_t)(major >> 32)};
    pdn_philox(counter, key, w);
}

Test(data, patches_are_windows) {
    enum { W = 40, H = 30, P = 5, REPEAT = 400 };
    cr_assert_eq(mkdir("photos", 0777), 0);
    write_places("photos/a.pgm", W, H, 0);
    write_places("photos/b.pgm", W, H, W * H);
    PdnDataOptions o = options(P, 16, REPEAT);
    o.source = 3;
    PdnData *data = images("photos", &o, PDN_F64);
    PdnDataInfo info;
    pdn_data_info(data, &info);
    cr_assert_eq(info.per_epoch, 2 * REPEAT);
    cr_assert_eq(info.field[0].extent[0], P);
    cr_assert_eq(info.field[0].extent[1], P);
    bool seen_x[W - P + 1] = {false}, seen_y[H - P + 1] = {false};
    PdnLoader *loader;
    PdnBatch batch;
    uint64_t seed = UINT64_C(0x123456789abcdef0);
    OK(pdn_loader_open(data, seed, 7, 1, false, &loader, &error));
    for (int64_t done = 0; done < info.per_epoch;) {
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(batch.first, done);
        for (int64_t s = 0; s < batch.count; s++, done++) {
            const PdnSample *sample = &batch.samples[s];
            cr_assert_eq(sample->number, done % 2);
            int corner = place_at(sample, 0) - (int)sample->number * W * H;
            uint32_t w[4];
            draw(seed, 1, 3, 7, (uint32_t)done, w);
            cr_assert_eq(corner % W, below(w[0], W - P + 1));
            cr_assert_eq(corner / W, below(w[1], H - P + 1));
            seen_x[corner % W] = seen_y[corner / W] = true;
            for (int i = 0; i < P * P; i++) {
                int expected = (int)sample->number * W * H + corner + i / P * W + i % P;
                cr_assert_eq(place_at(sample, i), expected);
                cr_assert_eq(value_at(sample, i), expected / 65535.0);
            }
        }
    }
    pdn_loader_close(loader);
    for (int x = 0; x <= W - P; x++) { cr_assert(seen_x[x], "%d", x); } /* the first and last too */
    for (int y = 0; y <= H - P; y++) { cr_assert(seen_y[y], "%d", y); }
    pdn_data_free(data);
}

/* The eight symmetries of the square by their formulas: result (x, y) is window (u, v). */
static int symmetry(const PdnSample *sample, int width, int p) {
    for (int t = 0; t < 8; t++) {
        int corner = place_at(sample, 0);
        for (int i = 0; i < p * p; i++) {
            corner = place_at(sample, i) < corner ? place_at(sample, i) : corner;
        }
        bool all = true;
        for (int y = 0; y < p; y++) {
            for (int x = 0; x < p; x++) {
                int u = x, v = y, q = p - 1;
                switch (t) {
                case 1: u = q - x; break;
                case 2: v = q - y; break;
                case 3: u = q - x, v = q - y; break;
                case 4: u = y, v = x; break;
                case 5: u = q - y, v = x; break;
                case 6: u = y, v = q - x; break;
                case 7: u = q - y, v = q - x; break;
                default: break;
                }
                all &= place_at(sample, y * p + x) == corner + v * width + u;
            }
        }
        if (all) { return t; }
    }
    return -1;
}

Test(data, augmentation_is_the_group_of_the_square) {
    enum { W = 40, H = 30, P = 4, COUNT = 4000 };
    cr_assert_eq(mkdir("photos", 0777), 0);
    write_places("photos/a.pgm", W, H, 0);
    PdnDataOptions o = options(P, 100, COUNT);
    PdnLoader *loader;
    PdnBatch batch;
    for (int on = 0; on < 2; on++) {
        int seen[8] = {0};
        o.augment = on;
        PdnData *data = images("photos", &o, PDN_F64);
        OK(pdn_loader_open(data, 5, 0, 1, true, &loader, &error));
        for (int64_t done = 0; done < COUNT; done += batch.count) {
            OK(pdn_loader_next(loader, &batch, &error));
            for (int64_t s = 0; s < batch.count; s++) {
                int t = symmetry(&batch.samples[s], W, P);
                cr_assert_geq(t, 0);
                seen[t]++;
            }
        }
        pdn_loader_close(loader);
        pdn_data_free(data);
        double square = 0; /* 24.3 is exceeded with probability 0.001 */
        for (int t = 0; t < 8; t++) { square += pow(seen[t] - COUNT / 8.0, 2) / (COUNT / 8.0); }
        if (on) {
            cr_assert_lt(square, 24.3, "%g", square);
        } else {
            cr_assert_eq(seen[0], COUNT);
        }
    }
    /* a picture that is no square is flipped only, and keeps its size */
    int flips[4] = {0};
    o.patch = PDN_ABSENT;
    o.repeat = 200;
    PdnData *data = images("photos", &o, PDN_F64);
    OK(pdn_loader_open(data, 5, 0, 1, true, &loader, &error));
    for (int64_t done = 0; done < 200; done += batch.count) {
        OK(pdn_loader_next(loader, &batch, &error));
        for (int64_t s = 0; s < batch.count; s++) {
            const PdnSample *sample = &batch.samples[s];
            cr_assert_eq(sample->field[0].extent[0], W);
            cr_assert_eq(sample->field[0].extent[1], H);
            bool x = place_at(sample, 0) % W != 0, y = place_at(sample, 0) / W != 0;
            flips[2 * y + x]++;
            for (int i = 0; i < W * H; i++) {
                int u = x ? W - 1 - i % W : i % W, v = y ? H - 1 - i / W : i / W;
                cr_assert_eq(place_at(sample, i), v * W + u);
            }
        }
    }
    pdn_loader_close(loader);
    pdn_data_free(data);
    for (int t = 0; t < 4; t++) { cr_assert_gt(flips[t], 20); }
}

Test(data, order_is_a_fair_permutation) {
    enum { COUNT = 23, EPOCHS = 4000 };
    cr_assert_eq(mkdir("photos", 0777), 0);
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "photos/%02d.pgm", i);
        write_places(name, 1, 1, i);
    }
    PdnDataOptions o = options(PDN_ABSENT, 5, PDN_ABSENT);
    PdnData *data = images("photos", &o, PDN_F64);
    int where[2][COUNT] = {{0}};
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        int expected[COUNT], place = 0;
        for (int i = 0; i < COUNT; i++) { expected[i] = i; }
        for (int i = COUNT - 1; i > 0; i--) { /* Fisher and Yates */
            uint32_t w[4];
            draw(99, 0, 0, (uint64_t)epoch, (uint32_t)i, w);
            int j = (int)(((__int128)((uint64_t)w[1] << 32 | w[0]) * (i + 1)) >> 64 & 0xff);
            int kept = expected[i];
            expected[i] = expected[j];
            expected[j] = kept;
        }
        PdnLoader *loader;
        PdnBatch batch;
        OK(pdn_loader_open(data, 99, epoch, 1, true, &loader, &error));
        for (;;) {
            OK(pdn_loader_next(loader, &batch, &error));
            if (batch.count == 0) { break; }
            /* the last one is partial, and kept */
            cr_assert_eq(batch.count, place < 20 ? 5 : 3);
            for (int64_t s = 0; s < batch.count; s++, place++) {
                int number = (int)batch.samples[s].number;
                cr_assert_eq(number, expected[place]);
                cr_assert_eq(place_at(&batch.samples[s], 0), number);
                if (number == 0) { where[0][place]++; }
                if (number == COUNT - 1) { where[1][place]++; }
            }
        }
        cr_assert_eq(place, COUNT);
        pdn_loader_close(loader);
    }
    pdn_data_free(data);
    for (int k = 0; k < 2;
         k++) { /* of 22 degrees of freedom 48.3 is exceeded with probability 0.001 */
        double square = 0, mean = (double)EPOCHS / COUNT;
        for (int i = 0; i < COUNT; i++) { square += pow(where[k][i] - mean, 2) / mean; }
        cr_assert_lt(square, 48.3, "%g", square);
    }
}

static void nine_photos(void) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    for (int i = 0; i < 9; i++) {
        char name[32];
        snprintf(name, sizeof name, "photos/%d.pgm", i);
        write_places(name, 20 + i, 30 - i, 1000 * i);
    }
}

Test(data, nothing_but_seed_epoch_and_source_matters) {
    nine_photos();
    PdnDataOptions o = options(16, 4, 3);
    o.augment = true;
    PdnData *data = images("photos", &o, PDN_F32);
    uint64_t first = epoch_hash(data, 1, 0, true), later = epoch_hash(data, 1, 5, true);
    cr_assert_eq(epoch_hash(data, 1, 0, true), first);
    cr_assert_neq(later, first);
    cr_assert_neq(epoch_hash(data, 2, 0, true), first);
    cr_assert_neq(epoch_hash(data, UINT64_C(1) << 32 | 1, 0, true), first);
    cr_assert_neq(epoch_hash(data, 1, INT64_C(1) << 32, true), first);
    cr_assert_neq(epoch_hash(data, 1, 0, false), first);
    cr_assert_neq(epoch_hash(data, 1, 0, false), epoch_hash(data, 1, 1, false));
    cr_assert_neq(epoch_hash(data, 1, 0, false), epoch_hash(data, 1, INT64_C(1) << 32, false));
    pdn_data_free(data);
    o.memory = 0; /* decoded anew, and begun at a later epoch: the same */
    data = images("photos", &o, PDN_F32);
    PdnDataInfo info;
    pdn_data_info(data, &info);
    cr_assert(!info.decoded);
    cr_assert_eq(epoch_hash(data, 1, 5, true), later);
    cr_assert_eq(epoch_hash(data, 1, 0, true), first);
    pdn_data_free(data);
    o.memory = PDN_ABSENT;
    o.source = 1;
    data = images("photos", &o, PDN_F32);
    cr_assert_neq(epoch_hash(data, 1, 0, true), first);
    pdn_data_free(data);
}

/* One loader goes through epochs as loaders of single ones do; batches of 1, of some, of all. */
Test(data, epochs_follow_one_another) {
    nine_photos();
    for (int batch = 1; batch <= 16; batch *= 4) {
        PdnDataOptions o = options(16, batch, 3);
        o.augment = true;
        PdnData *data = images("photos", &o, PDN_F32);
        for (int shuffled = 0; shuffled < 2; shuffled++) {
            PdnLoader *loader;
            PdnBatch none = {.count = 1};
            OK(pdn_loader_open(data, 3, 4, 5, shuffled, &loader, &error));
            for (int64_t e = 4; e < 9; e++) {
                cr_assert_eq(hash_epoch(data, loader), epoch_hash(data, 3, e, shuffled));
            }
            OK(pdn_loader_next(loader, &none, &error));
            cr_assert_eq(none.count, 0);
            pdn_loader_close(loader);
        }
        pdn_data_free(data);
    }
}

Test(data, too_small_ones_are_counted) {
    const int sizes[5][2] = {{9, 8}, {7, 3}, {4, 8}, {9, 2}, {3, 9}};
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.pgm", i);
        write_places(name, sizes[i][0], sizes[i][1], 0);
    }
    PdnDataOptions options = PDN_DATA_OPTIONS;
    PdnData *data;
    OK(pdn_data_images(".", PDN_ABSENT, &options, PDN_F32, &data, &error));
    int64_t number = -1, extent[3];
    cr_assert_eq(pdn_data_too_small(data, (const int64_t[]){3, 2, 1}, &number, extent), 0);
    cr_assert_eq(pdn_data_too_small(data, (const int64_t[]){4, 2, 1}, &number, extent), 1);
    cr_assert(number == 4 && extent[0] == 3 && extent[1] == 9 && extent[2] == 1);
    cr_assert_eq(pdn_data_too_small(data, (const int64_t[]){5, 6, 7}, &number, extent), 4);
    cr_assert(number == 3 && extent[0] == 9 && extent[1] == 2);
    pdn_data_free(data);
}

Test(data, says_whether_epochs_differ) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    write_places("photos/a.pgm", 4, 4, 255);
    PdnDataInfo info;
    for (int way = 0; way < 4; way++) { /* whole, the whole as a window, a smaller one, turned */
        PdnDataOptions o = plain;
        o.patch = way == 1 ? 4 : way == 2 ? 3 : PDN_ABSENT;
        o.augment = way == 3;
        PdnData *data = images("photos", &o, PDN_F32);
        pdn_data_info(data, &info);
        cr_assert_eq(info.varies, way >= 2, "way %d", way);
        pdn_data_free(data);
    }
    PdnDataOptions o = plain;
    o.patch = 2;
    /* the window is all of this one, and a part of the other */
    write_places("photos/b.pgm", 2, 2, 255);
    PdnData *data = images("photos", &o, PDN_F32);
    pdn_data_info(data, &info);
    cr_assert(info.varies);
    pdn_data_free(data);
}

/* Without a patch another size of batches gives the same samples; 8 and 16 bits, text and interlaced alike. */
Test(data, memory_bound_is_of_stored_bytes) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    write_bytes("photos/a.pgm", "P5 2 2 255\nabcd", 15);
    write_bytes("photos/b.pgm", "P2 2 2 9\n1 2 3 9", 16);
    write_places("photos/c.pgm", 2, 2, 300);
    PdnDataOptions o = plain;
    PdnDataInfo info;
    for (int64_t memory = 15; memory <= 16; memory++) { /* 4 + 4 + 8 bytes */
        o.memory = memory;
        PdnData *data = images("photos", &o, PDN_F64);
        pdn_data_info(data, &info);
        cr_assert_eq(info.decoded, memory == 16);
        cr_assert_eq(info.field[0].extent[0], 2);
        PdnLoader *loader;
        PdnBatch batch;
        OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(value_at(batch.samples, 0), 'a' / 255.0);
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(value_at(batch.samples, 1), 2 / 9.0);
        cr_assert_eq(value_at(batch.samples, 3), 1);
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(value_at(batch.samples, 3), 303 / 65535.0);
        pdn_loader_close(loader);
        pdn_data_free(data);
    }
}

/* PNG of 8 and 16 bits, grey and colour, is kept as it is stored. */
Test(data, png_is_kept_as_stored) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    double values[12];
    for (int depth = 8; depth <= 16; depth += 8) {
        for (int64_t channels = 1; channels <= 3; channels += 2) {
            double most = depth == 8 ? 255 : 65535;
            for (int i = 0; i < 12; i++) {
                values[i] = (7 * i + depth) * (depth == 8 ? 1 : 500) / most;
            }
            const void *const pointer = values;
            PdnSave save = {.type = PDN_F64,
                            .rank = 2,
                            .extent = {2, 2, 1},
                            .channels = channels,
                            .data = &pointer,
                            .depth = depth};
            OK(pdn_file_write("photos/a.png", &save, &error));
            for (int memory = -1; memory <= 0; memory++) {
                PdnDataOptions o = plain;
                o.memory = 4 * channels * depth / 8 + memory;
                PdnDataInfo info;
                PdnData *data = images("photos", &o, PDN_F64);
                pdn_data_info(data, &info);
                cr_assert_eq(info.decoded, memory == 0);
                PdnLoader *loader;
                PdnBatch batch;
                OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
                OK(pdn_loader_next(loader, &batch, &error));
                cr_assert_eq(batch.samples->field[0].channels, channels);
                for (int i = 0; i < 4 * channels; i++) {
                    cr_assert_eq(value_at(batch.samples, i), values[i]);
                }
                pdn_loader_close(loader);
                pdn_data_free(data);
            }
        }
    }
}

Test(data, grey_and_colour) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    write_bytes("photos/a.ppm", "P3 2 1 255 10 20 30 77 77 77", 28);
    PdnData *data;
    PdnLoader *loader;
    PdnBatch batch;
    data = images("photos", &plain, PDN_F64);
    OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
    OK(pdn_loader_next(loader, &batch, &error));
    static const double colours[6] = {10, 77, 20, 77, 30, 77};
    cr_assert_eq(batch.samples->field[0].channels, 3);
    for (int i = 0; i < 6; i++) { cr_assert_eq(value_at(batch.samples, i), colours[i] / 255); }
    pdn_loader_close(loader);
    pdn_data_free(data);
    write_bytes("photos/b.pgm", "P2 2 1 255 50 60", 16);
    EXPECT_FAIL(pdn_data_images("photos", PDN_ABSENT, &plain, PDN_F64, &data, &error),
                PDN_ERROR_FORMAT, "photos/b.pgm is grey and photos/a.ppm has colours",
                "channels = 1");
    cr_assert_null(data);
    for (int64_t channels = 1; channels <= 3; channels += 2) {
        OK(pdn_data_images("photos", channels, &plain, PDN_F64, &data, &error));
        OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
        OK(pdn_loader_next(loader, &batch, &error));
        cr_assert_eq(batch.samples->field[0].channels, channels);
        if (channels == 1) {
            cr_assert_float_eq(value_at(batch.samples, 0),
                               (0.299 * 10 + 0.587 * 20 + 0.114 * 30) / 255, 1e-15);
            cr_assert_eq(value_at(batch.samples, 1), 77 / 255.0);
        } else {
            for (int i = 0; i < 6; i++) {
                cr_assert_eq(value_at(batch.samples, i), colours[i] / 255);
            }
        }
        OK(pdn_loader_next(loader, &batch, &error));
        for (int i = 0; i < 2 * channels; i++) {
            cr_assert_eq(value_at(batch.samples, i), (i % 2 ? 60 : 50) / 255.0);
        }
        pdn_loader_close(loader);
        pdn_data_free(data);
    }
}

Test(data, images_that_are_refused) {
    PdnData *data;
    PdnDataOptions o = plain;
#define REFUSED(path, status, ...)                                                                 \
    do {                                                                                           \
        EXPECT_FAIL(pdn_data_images(path, PDN_ABSENT, &o, PDN_F32, &data, &error), status,         \
                    __VA_ARGS__);                                                                  \
        cr_assert_null(data);                                                                      \
    } while (0)
    REFUSED("photos", PDN_ERROR_OPEN, "photos, a folder of pictures, cannot be opened: No such");
    REFUSED("photos/*.png", PDN_ERROR_OPEN, "no file matches photos/*.png", "png pgm ppm");
    cr_assert_eq(mkdir("photos", 0777), 0);
    REFUSED("photos", PDN_ERROR_OPEN, "photos holds no pictures", "png pgm ppm", "it is empty");
    cr_assert_eq(mkdir("photos/all", 0777), 0);
    REFUSED("photos", PDN_ERROR_OPEN, "1 folder, which is not searched", "photos/*/*.png");
    write_bytes("photos/z.jpg", "\xff\xd8\xff", 3);
    write_bytes("photos/x.txt", "x", 1);
    REFUSED("photos", PDN_ERROR_OPEN, "2 other files, such as x.txt");
    REFUSED("photos/*", PDN_ERROR_OPEN, "photos/* holds no pictures", "such as photos/x.txt");
    REFUSED("photos/x.txt", PDN_ERROR_OPEN, "photos/x.txt is a file", "a folder of pictures");
    write_places("photos/a.pgm", 40, 30, 0);
    write_bytes("photos/b.png", "\xff\xd8\xff\xe0", 4);
    REFUSED("photos", PDN_ERROR_FORMAT, "photos/b.png is a JPEG picture, which is not read");
    write_bytes("photos/b.png", "", 0);
    REFUSED("photos", PDN_ERROR_FORMAT, "photos/b.png is empty");
    cr_assert_eq(unlink("photos/b.png"), 0);
    write_bytes("photos/b.pgm", "P5 9 9 255\nshort", 16);
    REFUSED("photos", PDN_ERROR_FORMAT, "photos/b.pgm", "truncated");
    write_bytes("photos/b.pgm", "P2 2 2 9 1 2 10 3", 17); /* broken behind its header */
    REFUSED("photos", PDN_ERROR_FORMAT, "photos/b.pgm is a broken picture");
    write_places("photos/b.pgm", 20, 50, 0);
    o.patch = 32;
    REFUSED("photos", PDN_ERROR_SIZE, "photos/b.pgm has 20 x 50 pixels", "patch of 32 x 32",
            "2 of 2 pictures", "patch = 20 or less");
    o.patch = 20;
    o.batch = 3;
    REFUSED("photos", PDN_ERROR_ARGUMENT, "batch = 3 is more than the 2 samples", "photos",
            "batch = 2 or less", "repeat = 2");
    o.repeat = 2;
    o.batch = 4;
    OK(pdn_data_images("photos", PDN_ABSENT, &o, PDN_F32, &data, &error));
    pdn_data_free(data);
    o.repeat = INT64_MAX;
    REFUSED("photos", PDN_ERROR_LIMIT, "more than an epoch may have");
    static const int64_t bad[] = {0, -1, -7};
    for (int i = 0; i < 3; i++) {
        o = plain, o.patch = bad[i];
        REFUSED("photos", PDN_ERROR_ARGUMENT, "patch = ", "from 1 on", "whole samples");
        o = plain, o.batch = bad[i];
        REFUSED("photos", PDN_ERROR_ARGUMENT, "batch = ", "from 1 on");
        o = plain, o.limit = bad[i];
        REFUSED("photos", PDN_ERROR_ARGUMENT, "limit = ", "from 1 on");
        o = plain, o.repeat = bad[i];
        REFUSED("photos", PDN_ERROR_ARGUMENT, "repeat = ", "from 1 on");
    }
    EXPECT_FAIL(pdn_data_images("photos", 2, &plain, PDN_F32, &data, &error), PDN_ERROR_ARGUMENT,
                "channels = 2", "1 channel (grey) or 3");
    cr_assert_eq(mkdir("photos/c.png", 0777), 0); /* a folder is no picture, whatever its name */
    data = images("photos", &plain, PDN_F32);
    pdn_data_free(data);
    PdnPaths paths;
    OK(pdn_picture_paths("photos", 2, &paths, &error));
    cr_assert_eq(paths.count, 2);
    pdn_paths_free(&paths);
    EXPECT_FAIL(pdn_picture_paths("photos", 1, &paths, &error), PDN_ERROR_LIMIT,
                "photos holds more than 1 pictures");
    EXPECT_FAIL(pdn_picture_paths("photos/*.pgm", 1, &paths, &error), PDN_ERROR_LIMIT,
                "photos/*.pgm holds more than 1 pictures");
    cr_assert_eq(paths.count, 0);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static PdnStatus arrays(const char *a, const char *b, int64_t rank, const PdnDataOptions *o,
                        PdnData **data) {
    const char *const paths[2] = {a, b};
    return pdn_data_arrays(paths, b ? 2 : 1, rank, o, PDN_F64, data, &error);
}

Test(data, axes_of_arrays) {
    static const struct {
        int axes;
        int64_t rank;
        int grid;
        int64_t channels, extent[3];
    } rows[] = {
        {1, PDN_ABSENT, 0, 1, {1, 1, 1}}, {2, PDN_ABSENT, 1, 1, {3, 1, 1}},
        {3, PDN_ABSENT, 2, 1, {4, 3, 1}}, {4, PDN_ABSENT, 2, 3, {5, 4, 1}},
        {5, PDN_ABSENT, 3, 3, {6, 5, 4}}, {3, 1, 1, 3, {4, 1, 1}},
        {4, 3, 3, 1, {5, 4, 3}},          {4, 2, 2, 3, {5, 4, 1}},
    };
    static const int64_t shape[5] = {2, 3, 4, 5, 6};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PdnData *data;
        PdnDataInfo info;
        write_counting("x.npy", rows[i].axes, shape);
        OK(arrays("x.npy", NULL, rows[i].rank, &plain, &data));
        pdn_data_info(data, &info);
        cr_assert_eq(info.count, 2);
        cr_assert_eq(info.field[0].rank, rows[i].grid);
        cr_assert_eq(info.field[0].channels, rows[i].channels);
        int64_t each = rows[i].channels;
        for (int axis = 0; axis < 3; axis++) {
            cr_assert_eq(info.field[0].extent[axis], rows[i].extent[axis]);
            each *= rows[i].extent[axis];
        }
        PdnLoader *loader;
        PdnBatch batch;
        OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
        for (int64_t at = 0; at < 2 * each;) {
            OK(pdn_loader_next(loader, &batch, &error));
            for (int64_t k = 0; k < each; k++, at++) {
                cr_assert_eq(value_at(batch.samples, k), (double)at);
            }
        }
        pdn_loader_close(loader);
        pdn_data_free(data);
    }
    PdnData *data;
    EXPECT_FAIL(arrays("x.npy", NULL, 1, &plain, &data), PDN_ERROR_FORMAT, "x.npy has 4 axes",
                "2 (samples and grid), or 3 with channels");
}

/* Fields of different channels, cut alike in three dimensions, with the 48 symmetries of the cube. */
Test(data, fields_are_cut_and_turned_alike) {
    static const int64_t shape[5] = {3, 2, 7, 8, 9}, single[4] = {3, 7, 8, 9};
    write_counting("x.npy", 5, shape);
    write_counting("y.npy", 4, single);
    PdnData *data;
    PdnDataOptions o = options(3, 10, 500);
    o.augment = true;
    OK(arrays("x.npy", "y.npy", 3, &o, &data));
    PdnDataInfo info;
    pdn_data_info(data, &info);
    cr_assert_eq(info.fields, 2);
    cr_assert_eq(info.field[0].channels, 2);
    cr_assert_eq(info.field[1].channels, 1);
    cr_assert_eq(info.field[1].extent[2], 3);
    PdnLoader *loader;
    PdnBatch batch;
    int seen[27 * 27 * 27] = {0}, kinds = 0;
    OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
    for (int64_t done = 0; done < info.per_epoch; done += batch.count) {
        OK(pdn_loader_next(loader, &batch, &error));
        for (int64_t s = 0; s < batch.count; s++) {
            const PdnSample *sample = &batch.samples[s];
            const double *x = sample->field[0].data, *y = sample->field[1].data;
            int64_t low = INT64_MAX, step[3];
            for (int i = 0; i < 27; i++) {
                int64_t place = (int64_t)y[i] - 504 * sample->number;
                cr_assert(place >= 0 && place < 504);
                cr_assert_eq((int64_t)x[i], 1008 * sample->number + place);
                cr_assert_eq((int64_t)x[i + 27], 1008 * sample->number + 504 + place);
                low = place < low ? place : low;
            }
            /* affine in x, y, z, with the steps of the source's axes in some order and sign */
            int64_t product = 1, kind = 0;
            for (int axis = 0, at = 1; axis < 3; axis++, at *= 3) {
                step[axis] = (int64_t)(y[at] - y[0]);
                product *= llabs(step[axis]);
                kind = 27 * kind +
                       (llabs(step[axis]) == 1   ? 1
                        : llabs(step[axis]) == 9 ? 2
                                                 : 3) +
                       (step[axis] < 0 ? 3 : 0);
            }
            cr_assert_eq(product, 1 * 9 * 72);
            for (int i = 0; i < 27; i++) {
                cr_assert_eq((int64_t)(y[i] - y[0]),
                             i % 3 * step[0] + i / 3 % 3 * step[1] + i / 9 * step[2]);
            }
            uint32_t w[4];
            draw(1, 1, 0, 0, (uint32_t)(done + s), w);
            cr_assert_eq(low, (below(w[2], 5) * 8 + below(w[1], 6)) * 9 + below(w[0], 7));
            kinds += seen[kind]++ == 0;
        }
    }
    cr_assert_eq(kinds, 48);
    pdn_loader_close(loader);
    pdn_data_free(data);
}

/* Samples of whole lines of the cache, drawn whole, are where the array is: batches have no room of their own. */
Test(data, whole_samples_are_not_copied) {
    static const int64_t lines[3] = {5, 4, 16}, odd[3] = {5, 3, 5};
    static const struct {
        const int64_t *shape;
        int64_t patch;
        bool augment, placed;
    } rows[] = {{lines, PDN_ABSENT, false, true},
                {odd, PDN_ABSENT, false, false},
                {lines, 4, false, false},
                {lines, PDN_ABSENT, true, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PdnDataOptions o = options(rows[i].patch, 2, PDN_ABSENT);
        o.augment = rows[i].augment;
        PdnData *data;
        PdnLoader *loader, *again;
        PdnBatch batch, same;
        PdnSample largest;
        write_counting("x.npy", 3, rows[i].shape);
        OK(arrays("x.npy", NULL, PDN_ABSENT, &o, &data));
        OK(pdn_loader_open(data, 1, 0, 1, true, &loader, &error));
        OK(pdn_loader_open(data, 1, 0, 1, true, &again, &error));
        cr_assert_eq(pdn_data_batches(data, 3, &largest) == 0, rows[i].placed, "row %zu", i);
        for (int b = 0; b < 3; b++) {
            OK(pdn_loader_next(loader, &batch, &error));
            OK(pdn_loader_next(again, &same, &error));
            for (int64_t s = 0; s < batch.count; s++) {
                const PdnSample *sample = &batch.samples[s];
                cr_assert_eq((uintptr_t)sample->field[0].data % 64, 0);
                cr_assert_eq(sample->field[0].data == same.samples[s].field[0].data, rows[i].placed,
                             "row %zu", i);
                if (rows[i].placed) {
                    cr_assert_eq(value_at(sample, 0), (double)(64 * sample->number));
                }
            }
        }
        pdn_loader_close(loader);
        pdn_loader_close(again);
        pdn_data_free(data);
    }
}

Test(data, arrays_of_an_archive) {
    double a[4] = {1, 2, 3, 4}, b[6] = {1, 2, 3, 4, 5, 6};
    const void *const both[2] = {a, b};
    const char *const names[2] = {"a", "b"};
    PdnSave save = {.type = PDN_F64,
                    .rank = 2,
                    .extent = {2, 2, 1},
                    .channels = 1,
                    .items = 2,
                    .data = both,
                    .names = names};
    OK(pdn_file_write("set.npz", &save, &error));
    PdnData *data;
    OK(arrays("set.npz:b", "set.npz:a", PDN_ABSENT, &plain, &data));
    expect_name(data, 1, "sample 1 of set.npz:b");
    pdn_data_free(data);
}

Test(data, arrays_that_are_refused) {
    static const int64_t two[3] = {2, 3, 4}, three[3] = {3, 3, 4}, wide[3] = {2, 3, 5};
    PdnData *data;
    write_counting("x.npy", 3, two);
    write_counting("y.npy", 3, three);
    write_counting("wide.npy", 3, wide);
    write_counting("number.npy", 0, NULL);
    write_counting("labels.npy", 1, two);
    EXPECT_FAIL(arrays("x.npy", "none.npy", PDN_ABSENT, &plain, &data), PDN_ERROR_OPEN, "none.npy",
                "No such file");
    cr_assert_null(data);
    EXPECT_FAIL(arrays("x.npy", "y.npy", PDN_ABSENT, &plain, &data), PDN_ERROR_SIZE,
                "x.npy has 2 samples and y.npy has 3");
    EXPECT_FAIL(arrays("number.npy", NULL, PDN_ABSENT, &plain, &data), PDN_ERROR_FORMAT,
                "number.npy is a single number");
    EXPECT_FAIL(arrays("x.npy", NULL, 4, &plain, &data), PDN_ERROR_ARGUMENT, "rank = 4");
    PdnDataOptions o = plain;
    OK(arrays("x.npy", "wide.npy", PDN_ABSENT, &o, &data)); /* sizes differ: fine as they are */
    pdn_data_free(data);
    o.patch = 2;
    EXPECT_FAIL(arrays("x.npy", "wide.npy", PDN_ABSENT, &o, &data), PDN_ERROR_SIZE,
                "x.npy and wide.npy are not of one size", "a patch cannot");
    EXPECT_FAIL(arrays("labels.npy", NULL, PDN_ABSENT, &o, &data), PDN_ERROR_ARGUMENT,
                "are numbers");
    o.patch = 4;
    EXPECT_FAIL(arrays("x.npy", NULL, PDN_ABSENT, &o, &data), PDN_ERROR_SIZE,
                "x.npy has samples of 4 x 3 cells, smaller than the patch");
    o = plain, o.augment = true;
    EXPECT_FAIL(arrays("x.npy", "wide.npy", PDN_ABSENT, &o, &data), PDN_ERROR_SIZE, "augment");
    o = plain, o.batch = 3;
    EXPECT_FAIL(arrays("x.npy", NULL, PDN_ABSENT, &o, &data), PDN_ERROR_ARGUMENT,
                "batch = 3 is more than the 2 samples");
    float values[24] = {0};
    values[17] = NAN;
    values[23] = -INFINITY;
    write_npy("x.npy", 3, two, values);
    EXPECT_FAIL(arrays("wide.npy", "x.npy", PDN_ABSENT, &plain, &data), PDN_ERROR_FORMAT,
                "x.npy: 2 of 24 values are no finite numbers", "sample 1, value 5");
    write_bytes("p.pgm", "P2 2 1 255 50 60", 16);
    EXPECT_FAIL(arrays("p.pgm", NULL, PDN_ABSENT, &plain, &data), PDN_ERROR_FORMAT,
                "p.pgm is a picture", "images()");
    const char *const nine[9] = {"x.npy", "x.npy", "x.npy", "x.npy", "x.npy",
                                 "x.npy", "x.npy", "x.npy", "x.npy"};
    EXPECT_FAIL(pdn_data_arrays(nine, 9, PDN_ABSENT, &plain, PDN_F32, &data, &error),
                PDN_ERROR_ARGUMENT, "9 files", "1 to 8 fields");
    EXPECT_FAIL(pdn_data_arrays(nine, 0, PDN_ABSENT, &plain, PDN_F32, &data, &error),
                PDN_ERROR_ARGUMENT, "0 files");
}

/* ---- signals --------------------------------------------------------------------------------- */

static PdnData *signals(const char *kind, int64_t cells, int64_t count, uint64_t seed,
                        const PdnDataOptions *o) {
    PdnSignals s = {cells, count, seed};
    PdnData *data = NULL;
    OK(pdn_data_signals(kind, &s, o, PDN_F64, &data, &error));
    return data;
}

Test(data, signals_follow_the_formula) {
    static const char *const kinds[2] = {"piecewise_affine", "piecewise_constant"};
    static const int64_t sizes[] = {1, 5, 10, 33, 256, 1000};
    for (size_t i = 0; i < 12; i++) {
        int64_t n = sizes[i / 2], least = n / 10 > 1 ? n / 10 : 1, most = 3 * n / 10;
        most = most > 1 ? most : 1;
        PdnDataOptions o = plain;
        o.source = 7;
        PdnData *data = signals(kinds[i % 2], n, 20, 11, &o);
        expect_name(data, 3,
                    i % 2 ? "signal 3 of piecewise_constant" : "signal 3 of piecewise_affine");
        PdnLoader *loader;
        PdnBatch batch;
        OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
        for (int k = 0; k < 20; k++) {
            OK(pdn_loader_next(loader, &batch, &error));
            cr_assert_eq(batch.samples->field[0].extent[0], n);
            int64_t at = 0;
            for (uint32_t j = 0; at < n; j++) {
                uint32_t w[4];
                draw(11, 2, 7, (uint64_t)k, j, w);
                int64_t length = least + below(w[0], most - least + 1);
                double a = ldexp(w[1], -32), b = i % 2 ? a : ldexp(w[2], -32);
                for (int64_t p = 0; p < length && at < n; p++, at++) {
                    double expected = a + (b - a) * ((double)p + 0.5) / (double)length;
                    cr_assert_float_eq(value_at(batch.samples, at), expected, 1e-15);
                    cr_assert(value_at(batch.samples, at) >= 0 && value_at(batch.samples, at) < 1);
                }
            }
        }
        pdn_loader_close(loader);
        pdn_data_free(data);
    }
}

Test(data, signals_are_a_fixed_set) {
    PdnData *few = signals(NULL, PDN_ABSENT, 5, 1, &plain);
    PdnDataOptions o = plain;
    o.limit = 5;
    PdnData *more = signals("piecewise_affine", 256, PDN_ABSENT, 1, &o);
    PdnDataInfo info;
    pdn_data_info(few, &info);
    cr_assert_eq(info.field[0].rank, 1);
    cr_assert_eq(info.field[0].extent[0], 256);
    uint64_t hash = epoch_hash(few, 1, 0, false);
    cr_assert_eq(epoch_hash(more, 1, 0, false), hash);
    cr_assert_eq(epoch_hash(few, 2, 9, false),
                 hash); /* the set does not change from epoch to epoch */
    cr_assert_neq(epoch_hash(few, 1, 0, true), hash);
    pdn_data_free(few);
    pdn_data_free(more);
    few = signals(NULL, PDN_ABSENT, 5, 2, &plain);
    cr_assert_neq(epoch_hash(few, 1, 0, false), hash);
    pdn_data_free(few);
    o.source = 1;
    few = signals(NULL, PDN_ABSENT, 5, 1, &o);
    cr_assert_neq(epoch_hash(few, 1, 0, false), hash);
    pdn_data_free(few);
    static const int64_t shape[3] = {4, 2, 9};
    write_counting("s.npy", 3, shape);
    PdnSignals absent = PDN_SIGNALS;
    PdnData *data;
    OK(pdn_data_signals("s.npy", &absent, &plain, PDN_F64, &data, &error));
    pdn_data_info(data, &info);
    cr_assert_eq(info.count, 4);
    cr_assert_eq(info.field[0].channels, 2);
    cr_assert_eq(info.field[0].extent[0], 9);
    pdn_data_free(data);
}

Test(data, signals_that_are_refused) {
    PdnData *data;
    PdnSignals s = PDN_SIGNALS;
    EXPECT_FAIL(pdn_data_signals("affine", &s, &plain, PDN_F32, &data, &error), PDN_ERROR_ARGUMENT,
                "kind affine are not known", "piecewise_affine, piecewise_constant");
    EXPECT_FAIL(pdn_data_signals("s.npy", &s, &plain, PDN_F32, &data, &error), PDN_ERROR_OPEN,
                "s.npy", "No such file");
    s.cells = 0;
    EXPECT_FAIL(pdn_data_signals(NULL, &s, &plain, PDN_F32, &data, &error), PDN_ERROR_ARGUMENT,
                "cells = 0");
    s.cells = INT64_MAX;
    EXPECT_FAIL(pdn_data_signals(NULL, &s, &plain, PDN_F32, &data, &error), PDN_ERROR_LIMIT,
                "cells = 9223372036854775807");
    s.cells = 8;
    s.count = -3;
    EXPECT_FAIL(pdn_data_signals(NULL, &s, &plain, PDN_F32, &data, &error), PDN_ERROR_ARGUMENT,
                "count = -3");
    s.count = 4;
    PdnDataOptions o = plain;
    o.batch = 5;
    EXPECT_FAIL(pdn_data_signals(NULL, &s, &o, PDN_F32, &data, &error), PDN_ERROR_ARGUMENT,
                "the 4 samples that an epoch draws from piecewise_affine");
    o = plain, o.patch = 9;
    EXPECT_FAIL(pdn_data_signals(NULL, &s, &o, PDN_F32, &data, &error), PDN_ERROR_SIZE,
                "samples of 8 cells, smaller than the patch");
    static const int64_t shape[2] = {4, 9};
    write_counting("s.npy", 2, shape);
    EXPECT_FAIL(pdn_data_signals("s.npy", &s, &plain, PDN_F32, &data, &error), PDN_ERROR_ARGUMENT,
                "s.npy is a file", "leave out cells and count");
    cr_assert_null(data);
}

/* ---- the thread ------------------------------------------------------------------------------- */

Test(data, loaders_close_at_any_moment) {
    PdnDataOptions o = options(PDN_ABSENT, 3, PDN_ABSENT);
    PdnData *data = signals(NULL, 64, 20, 1, &o);
    for (int round = 0; round < 400; round++) {
        PdnLoader *loader, *other;
        PdnBatch batch;
        OK(pdn_loader_open(data, 1, round, 1, true, &loader, &error));
        OK(pdn_loader_open(data, 1, round, 1, true, &other, &error));
        for (int b = 0; b < round % 10; b++) { OK(pdn_loader_next(loader, &batch, &error)); }
        pdn_loader_close(other);
        pdn_loader_close(loader);
    }
    pdn_loader_close(NULL);
    pdn_data_free(data);
    pdn_data_free(NULL);
}

/* A batch keeps its values while the thread goes on with the next ones. */
Test(data, batches_stay_until_the_next) {
    PdnDataOptions o = options(PDN_ABSENT, 2, PDN_ABSENT);
    PdnData *data = signals(NULL, 64, 40, 1, &o);
    PdnLoader *loader, *again;
    PdnBatch batch, same;
    OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
    OK(pdn_loader_open(data, 1, 0, 1, false, &again, &error));
    for (int b = 0; b < 20; b++) {
        OK(pdn_loader_next(loader, &batch, &error));
        double kept[2][64];
        for (int s = 0; s < 2; s++) { memcpy(kept[s], batch.samples[s].field[0].data, 512); }
        usleep(1000);
        OK(pdn_loader_next(again, &same, &error));
        for (int s = 0; s < 2; s++) {
            cr_assert_eq(batch.samples[s].number, 2 * b + s);
            cr_assert(memcmp(kept[s], batch.samples[s].field[0].data, 512) == 0);
            cr_assert(memcmp(kept[s], same.samples[s].field[0].data, 512) == 0);
        }
    }
    pdn_loader_close(loader);
    pdn_loader_close(again);
    pdn_data_free(data);
}

Test(data, errors_of_the_thread_arrive_in_turn) {
    cr_assert_eq(mkdir("photos", 0777), 0);
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "photos/%d.pgm", i);
        write_places(name, 4, 4, i);
    }
    PdnDataOptions o = plain;
    o.memory = 0;
    for (int broken = 0; broken < 6; broken++) {
        PdnData *data = images("photos", &o, PDN_F32);
        PdnLoader *loader;
        PdnBatch batch;
        char name[32], text[64];
        snprintf(name, sizeof name, "photos/%d.pgm", broken);
        if (broken % 3 == 0) {
            unlink(name);
            snprintf(text, sizeof text, "%s cannot be opened", name);
        } else if (broken % 3 == 1) {
            write_places(name, 5, 4, 0);
            snprintf(text, sizeof text, "%s has become another picture", name);
        } else {
            cr_assert_eq(truncate(name, 20), 0);
            snprintf(text, sizeof text, "%s ends too early", name);
        }
        OK(pdn_loader_open(data, 1, 0, 1, false, &loader, &error));
        for (int i = 0; i < broken; i++) {
            OK(pdn_loader_next(loader, &batch, &error));
            cr_assert_eq(batch.samples->number, i);
        }
        for (int again = 0; again < 3; again++) {
            error.message[0] = 0;
            cr_assert_neq(pdn_loader_next(loader, &batch, &error), PDN_OK);
            cr_assert_not_null(strstr(error.message, text), "%s", error.message);
            cr_assert_eq(batch.count, 0);
        }
        pdn_loader_close(loader);
        pdn_data_free(data);
        write_places(name, 4, 4, broken);
    }
}
