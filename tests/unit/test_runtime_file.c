/* Files: what is read from bytes, what is refused and how it is said, and that a failed write leaves the
 * old file. Comparison with NumPy, PIL and VTK: tests/python/test_files.py. */
#define _GNU_SOURCE /* nftw */
#include <criterion/criterion.h>

#include "runtime/file.h"
#include "runtime/pending.h"
#include "tests/unit/temporary_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(file, .init = enter_folder, .fini = leave_folder);

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

static char *content(const char *path) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 1 << 16);
    cr_assert_lt(fread(text, 1, (1 << 16) - 1, file), (1 << 16) - 1);
    fclose(file);
    return text;
}

static void expect_content(const char *path, const char *expected) {
    char *text = content(path);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* ---- reading ------------------------------------------------------------------------------ */

static PdnError error;

static PdnStatus read_text(const char *text, PdnArray *array) {
    return pdn_bytes_read("it", text, strlen(text), PDN_F64, array, &error);
}

#define EXPECT_FAIL(call, status, part)                                                            \
    do {                                                                                           \
        error.message[0] = 0;                                                                      \
        cr_assert_eq((call), (status), "%s", error.message);                                       \
        cr_assert_not_null(strstr(error.message, (part)), "%s", error.message);                    \
    } while (0)

Test(file, reads_pnm_text) {
    PdnArray array;
    cr_assert_eq(read_text("P2 # grey\n#more\n3 #w\n2\n10\n0 1 2#c\n 3\t4\r10", &array), PDN_OK);
    cr_assert_eq(array.rank, 2);
    cr_assert_eq(array.shape[0], 2);
    cr_assert_eq(array.shape[1], 3);
    static const double expected[6] = {0, 0.1, 0.2, 0.3, 0.4, 1};
    for (int i = 0; i < 6; i++) { cr_assert_eq(((double *)array.data)[i], expected[i]); }
    pdn_array_free(&array);
    cr_assert_eq(read_text("P3 2 1 65535 0 1 2 3 4 65535", &array), PDN_OK);
    cr_assert_eq(array.rank, 3);
    static const double colours[6] = {0, 3 / 65535., 1 / 65535., 4 / 65535., 2 / 65535., 1};
    for (int i = 0; i < 6; i++) { cr_assert_eq(((double *)array.data)[i], colours[i]); }
    pdn_array_free(&array);
}

Test(file, refuses_broken_pnm) {
    PdnArray array;
    EXPECT_FAIL(read_text("P2 3 2 10 0 1 2 3 4 ", &array), PDN_ERROR_FORMAT, "truncated");
    EXPECT_FAIL(read_text("P2 3 2 10 0 1 2 3 4 11", &array), PDN_ERROR_FORMAT, "no number from 0");
    EXPECT_FAIL(read_text("P2 3 2 10 0 1 2 3 4 -1", &array), PDN_ERROR_FORMAT, "no number from 0");
    EXPECT_FAIL(read_text("P2 0 2 10 0 1 2 3 4 11", &array), PDN_ERROR_FORMAT, "width and height");
    EXPECT_FAIL(read_text("P2 3 2 0 0 1 2 3 4 11", &array), PDN_ERROR_FORMAT, "greatest value");
    EXPECT_FAIL(read_text("P2 3 2 65536 0 1 2 3 4 11", &array), PDN_ERROR_FORMAT, "greatest value");
    EXPECT_FAIL(read_text("P5 2 1 9 \x01", &array), PDN_ERROR_FORMAT, "truncated");
    EXPECT_FAIL(read_text("P5 2 1 9 \x01\n", &array), PDN_ERROR_FORMAT, "greater");
    EXPECT_FAIL(read_text("P5 2000000000 2000000000 255 x", &array), PDN_ERROR_FORMAT, "truncated");
    EXPECT_FAIL(read_text("P6 99999999999999999999 1 255 x", &array), PDN_ERROR_FORMAT, "width");
    cr_assert_null(array.data);
}

/* A NumPy file with this header and `count` bytes of values. */
static PdnStatus read_npy(int version, const char *header, const void *values, size_t count,
                          PdnType type, PdnArray *array) {
    uint8_t bytes[4096] = "\x93NUMPY";
    size_t length = strlen(header), used = 8;
    bytes[6] = (uint8_t)version;
    bytes[used++] = (uint8_t)length;
    bytes[used++] = (uint8_t)(length >> 8);
    if (version > 1) { used += 2; }
    memcpy(bytes + used, header, length);
    memcpy(bytes + used + length, values, count);
    return pdn_bytes_read("it", bytes, used + length + count, type, array, &error);
}

Test(file, reads_npy_types) {
    static const struct {
        const char *type, *bytes;
        int size;
        double value;
    } rows[] = {
        {"<f8", "\0\0\0\0\0\0\xf8\x3f", 8, 1.5},
        {">f8", "\x3f\xf8\0\0\0\0\0\0", 8, 1.5},
        {"<f4", "\0\0\xc0\x3f", 4, 1.5},
        {">f4", "\x3f\xc0\0\0", 4, 1.5},
        {"<f2", "\x00\x3e", 2, 1.5},
        {">f2", "\x80\x01", 2, -0x1p-24},
        {"<f2", "\xff\x7b", 2, 65504},
        {"|i1", "\xff", 1, -1},
        {"|u1", "\xff", 1, 255},
        {"<i2", "\x00\x80", 2, -32768},
        {">u2", "\xff\xfe", 2, 65534},
        {">i4", "\x80\0\0\0", 4, -2147483648.0},
        {"<u4", "\0\0\0\x80", 4, 2147483648.0},
        {"<i8", "\0\0\0\0\0\0\0\x80", 8, -0x1p63},
        {">u8", "\x80\0\0\0\0\0\0\0", 8, 0x1p63},
        {"|b1", "\1", 1, 1},
        {"?", "", 0, 0},
    };
    for (int i = 0; rows[i].size; i++) {
        for (int version = 1; version <= 3; version++) {
            for (int type = PDN_F32; type <= PDN_F64; type++) {
                char header[100];
                snprintf(header, sizeof header,
                         "{'shape': (1,), 'descr': '%s', 'fortran_order': False}  \n",
                         rows[i].type);
                PdnArray array;
                cr_assert_eq(
                    read_npy(version, header, rows[i].bytes, (size_t)rows[i].size, type, &array),
                    PDN_OK, "%s: %s", rows[i].type, error.message);
                double value = type == PDN_F32 ? *(float *)array.data : *(double *)array.data;
                cr_assert_eq(value, rows[i].value, "%s: %g", rows[i].type, value);
                pdn_array_free(&array);
            }
        }
    }
}

Test(file, reads_npy_orders) {
    static const uint8_t values[24] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                       12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
    PdnArray array;
    cr_assert_eq(read_npy(1, "{'descr':'|u1','fortran_order':True,'shape':(2,3,4)}", values, 24,
                          PDN_F32, &array),
                 PDN_OK);
    const float *data = array.data;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 4; k++) {
                cr_assert_eq(data[(i * 3 + j) * 4 + k], (float)(i + 2 * (j + 3 * k)));
            }
        }
    }
    pdn_array_free(&array);
    cr_assert_eq(read_npy(1, "{\"descr\":\"|u1\",\"fortran_order\":False,\"shape\":(2L,12L,)}",
                          values, 24, PDN_F32, &array),
                 PDN_OK);
    cr_assert_eq(((float *)array.data)[23], 23);
    pdn_array_free(&array);
    cr_assert_eq(
        read_npy(1, "{'descr':'|u1','fortran_order':False,'shape':()}", values, 1, PDN_F32, &array),
        PDN_OK);
    cr_assert_eq(array.rank, 0);
    pdn_array_free(&array);
}

Test(file, refuses_hostile_npy) {
    static const struct {
        const char *header;
        PdnStatus status;
        const char *part;
    } rows[] = {
        {"", PDN_ERROR_FORMAT, "dictionary"},
        {"{", PDN_ERROR_FORMAT, "dictionary"},
        {"{}", PDN_ERROR_FORMAT, "lacks"},
        {"{'descr':'<f4','shape':(1,)}", PDN_ERROR_FORMAT, "lacks"},
        {"{'descr':'<f4','fortran_order':False,'shape':(1,)} x", PDN_ERROR_FORMAT, "goes on"},
        {"{'descr':'<f4','descr':'<f4','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT,
         "twice"},
        {"{'descr':'<f4','fortran_order':Maybe,'shape':(1,)}", PDN_ERROR_FORMAT, "True or False"},
        {"{'descr':'<f4','fortran_order':False,'shape':(1", PDN_ERROR_FORMAT, "tuple"},
        {"{'descr':'<f4','fortran_order':False,'shape':(-1,)}", PDN_ERROR_FORMAT, "whole number"},
        {"{'descr':'<f4','fortran_order':False,'shape':1}", PDN_ERROR_FORMAT, "tuple"},
        {"{'descr':'<f4','fortran_order':False,'shape':(99999999999999999999,)}", PDN_ERROR_FORMAT,
         "counted"},
        {"{'descr':'<f4','fortran_order':False,'shape':(4294967296,4294967296)}", PDN_ERROR_FORMAT,
         "truncated"},
        {"{'descr':'<f4','fortran_order':False,'shape':(9223372036854775807,2)}", PDN_ERROR_FORMAT,
         "truncated"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,0)}", PDN_ERROR_FORMAT, "without values"},
        {"{'descr':'<f4','fortran_order':False,'shape':(1,1,1,1,1,1)}", PDN_ERROR_LIMIT, "6 axes"},
        {"{'descr':'<c8','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "complex"},
        {"{'descr':'|O','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "Python objects"},
        {"{'descr':'<U3','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "texts"},
        {"{'descr':'<f16','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "another type"},
        {"{'descr':'','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "another type"},
        {"{'descr':'<','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "another type"},
        {"{'descr':[('a','<f4')],'fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "records"},
        {"{'descr':'<f4','fortran_order':False,'shape':(2,)}", PDN_ERROR_FORMAT, "truncated"},
        {"{'descr':'<f2','fortran_order':False,'shape':(1,)}", PDN_ERROR_FORMAT, "goes on after"},
    };
    PdnArray array;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EXPECT_FAIL(read_npy(1, rows[i].header, "\0\0\0\0", 4, PDN_F32, &array), rows[i].status,
                    rows[i].part);
        cr_assert_null(array.data);
    }
    EXPECT_FAIL(read_npy(4, "{}", "", 0, PDN_F32, &array), PDN_ERROR_FORMAT, "version 4.0");
    const double large = 1e300;
    EXPECT_FAIL(read_npy(1, "{'descr':'<f8','fortran_order':False,'shape':(1,)}", &large, 8,
                         PDN_F32, &array),
                PDN_ERROR_FORMAT, "too large for f32");
    const double infinite = INFINITY;
    cr_assert_eq(read_npy(1, "{'descr':'<f8','fortran_order':False,'shape':(1,)}", &infinite, 8,
                          PDN_F32, &array),
                 PDN_OK);
    cr_assert(isinf(*(float *)array.data));
    pdn_array_free(&array);
}

/* 64 GiB of numbers in a sparse file: refused by its size, before any of it is read. */
Test(file, refuses_what_is_over_the_limit) {
    FILE *file = fopen("large.npy", "wb");
    char header[PDN_NPY_HEADER];
    const int64_t shape[2] = {1 << 20, 1 << 15};
    size_t used = pdn_npy_header(PDN_F32, 2, shape, header);
    fwrite(header, 1, used, file);
    fclose(file);
    if (truncate("large.npy", (off_t)used + (INT64_C(1) << 37)) != 0) {
        cr_skip("no large files here");
    }
    PdnArray array;
    EXPECT_FAIL(pdn_file_read("large.npy", PDN_F32, &array, &error), PDN_ERROR_LIMIT, "64.0 GiB");
}

Test(file, says_what_it_cannot_open) {
    PdnArray array;
    EXPECT_FAIL(pdn_file_read("none.png", PDN_F32, &array, &error), PDN_ERROR_OPEN, "No such file");
    EXPECT_FAIL(pdn_file_read("none.npz:u", PDN_F32, &array, &error), PDN_ERROR_OPEN,
                "No such file");
    mkdir("folder.png", 0777);
    EXPECT_FAIL(pdn_file_read("folder.png", PDN_F32, &array, &error), PDN_ERROR_OPEN, "a folder");
    cr_assert_eq(mkfifo("pipe.png", 0666), 0);
    EXPECT_FAIL(pdn_file_read("pipe.png", PDN_F32, &array, &error), PDN_ERROR_OPEN, "a pipe");
    EXPECT_FAIL(pdn_file_read("/dev/zero", PDN_F32, &array, &error), PDN_ERROR_OPEN, "a device");
    cr_assert_eq(pdn_text_write("empty.png", "", 0, &error), PDN_OK);
    EXPECT_FAIL(pdn_file_read("empty.png", PDN_F32, &array, &error), PDN_ERROR_FORMAT, "empty");
    int rank = 7;
    int64_t shape[PDN_MAX_RANK] = {1, 2, 3, 4, 5};
    cr_assert_eq(pdn_file_shape("none.png", &rank, shape, NULL), PDN_ERROR_OPEN);
    cr_assert(rank == 0 && shape[0] == 0);
}

Test(file, says_that_content_and_name_differ) {
    PdnArray array;
    cr_assert_eq(pdn_text_write("a.png", "P5 1 1 255 x", 12, &error), PDN_OK);
    EXPECT_FAIL(pdn_file_read("a.png", PDN_F32, &array, &error), PDN_ERROR_FORMAT,
                "not a PNG picture: its content is that of a PGM picture; rename it to .pgm");
    cr_assert_eq(pdn_text_write("b.png", "\xff\xd8\xff\xe0 JFIF", 9, &error), PDN_OK);
    EXPECT_FAIL(pdn_file_read("b.png", PDN_F32, &array, &error), PDN_ERROR_FORMAT,
                "JPEG picture, which is not read");
    cr_assert_eq(pdn_text_write("c.npy", "hello", 5, &error), PDN_OK);
    EXPECT_FAIL(pdn_file_read("c.npy", PDN_F32, &array, &error), PDN_ERROR_FORMAT,
                "does not begin like one");
    cr_assert_eq(pdn_text_write("c.txt", "hello", 5, &error), PDN_OK);
    EXPECT_FAIL(pdn_file_read("c.txt", PDN_F32, &array, &error), PDN_ERROR_FORMAT,
                "png pgm ppm npy npz");
    EXPECT_FAIL(pdn_file_read("u.vti", PDN_F32, &array, &error), PDN_ERROR_FORMAT,
                "written, not read");
    cr_assert_eq(pdn_text_write("d.dat", "P5 1 1 255 \xff", 12, &error),
                 PDN_OK); /* by its content */
    cr_assert_eq(pdn_file_read("d.dat", PDN_F32, &array, &error), PDN_OK);
    cr_assert_eq(*(float *)array.data, 1);
    pdn_array_free(&array);
}

/* ---- writing --------------------------------------------------------------------------- */

static const double plane[6] = {0, 0.25, 0.5, 0.75, 1, 0.125};
static const void *const plane_data[8] = {plane, plane, plane, plane, plane, plane, plane, plane};

static PdnSave save_plane(void) {
    return (PdnSave){.type = PDN_F64,
                     .rank = 2,
                     .extent = {3, 2},
                     .spacing = {1, 1, 1},
                     .channels = 1,
                     .data = plane_data};
}

Test(file, can_write) {
    static const struct {
        const char *path;
        int rank, channels;
        const char *part; /* NULL: can */
    } rows[] = {
        {"a.png", 2, 1, NULL},
        {"a.PNG", 2, 3, NULL},
        {"a.png", 2, 2, "one channel (grey) or three"},
        {"a.png", 3, 1, "3D"},
        {"a.pgm", 2, 3, "use ppm"},
        {"a.ppm", 2, 1, "use pgm"},
        {"a.npy", 3, 7, NULL},
        {"a.npz", 1, 1, NULL},
        {"a.vti", 0, 1, "numbers"},
        {"a.csv", 2, 2, "one 2D"},
        {"a.csv", 1, 2, NULL},
        {"a.csv", 3, 1, "two dimensions"},
        {"a.jpg", 2, 1, "extension"},
        {"png", 2, 1, "extension"},
        {".png", 2, 1, "extension"},
        {"a.png/b", 2, 1, "extension"},
        {"a.", 2, 1, "extension"},
        {"a.npy", 4, 1, "rank 4"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PdnSave save = {.rank = rows[i].rank, .channels = rows[i].channels};
        if (rows[i].part) {
            EXPECT_FAIL(pdn_file_can_write(rows[i].path, &save, &error), PDN_ERROR_ARGUMENT,
                        rows[i].part);
        } else {
            cr_assert_eq(pdn_file_can_write(rows[i].path, &save, &error), PDN_OK, "%s",
                         error.message);
        }
    }
    PdnSave save = save_plane();
    save.depth = 12;
    EXPECT_FAIL(pdn_file_can_write("a.png", &save, &error), PDN_ERROR_ARGUMENT, "8 or 16 bits");
}

Test(file, pictures_are_clamped_and_rounded) {
    static const double values[6] = {-1, 0.5 / 255 - 1e-9, 0.5 / 255 + 1e-9, 254.5 / 255 + 1e-9,
                                     2,  INFINITY};
    static const uint8_t expected[6] = {0, 0, 1, 255, 255, 255};
    const void *data[1] = {values};
    PdnSave save = save_plane();
    save.data = data;
    cr_assert_eq(pdn_file_write("a.pgm", &save, &error), PDN_OK);
    char *text = content("a.pgm");
    cr_assert(memcmp(text, "P5\n3 2\n255\n", 11) == 0 && memcmp(text + 11, expected, 6) == 0);
    free(text);
}

Test(file, nan_in_a_picture_is_an_error) {
    static const double values[6] = {0, 1, 0, 1, NAN, NAN};
    const void *data[1] = {values};
    PdnSave save = save_plane();
    save.data = data;
    cr_assert_eq(pdn_text_write("a.png", "old", 3, &error), PDN_OK);
    EXPECT_FAIL(pdn_file_write("a.png", &save, &error), PDN_ERROR_ARGUMENT,
                "2 of 6 values are not numbers (NaN), the first at x = 1, y = 1");
    expect_content("a.png", "old");
    cr_assert_eq(file_count(), 1);
}

Test(file, csv_of_a_plane) {
    PdnSave save = save_plane();
    cr_assert_eq(pdn_file_write("a.csv", &save, &error), PDN_OK);
    expect_content("a.csv", "0,0.25,0.5\n0.75,1,0.125\n");
}

Test(file, csv_of_columns) {
    PdnSave save = save_plane();
    save.rank = 1;
    save.spacing[0] = 0.5;
    cr_assert_eq(pdn_file_write("a.csv", &save, &error), PDN_OK);
    expect_content("a.csv", "x,u\n0.25,0\n0.75,0.25\n1.25,0.5\n");
    static const char *const names[2] = {"v", "a, \"b\""};
    save.items = 2;
    save.names = names;
    save.channels = 2;
    cr_assert_eq(pdn_file_write("b.csv", &save, &error), PDN_OK);
    expect_content("b.csv", "x,v_0,v_1,\"a, \"\"b\"\"_0\",\"a, \"\"b\"\"_1\"\n"
                            "0.25,0,0.75,0,0.75\n0.75,0.25,1,0.25,1\n1.25,0.5,0.125,0.5,0.125\n");
    save.rank = 0;
    save.items = 0;
    save.names = NULL;
    save.channels = 1;
    save.frames = 2;
    cr_assert_eq(pdn_file_write("c.csv", &save, &error), PDN_OK);
    expect_content("c.csv", "frame,u\n0,0\n1,0\n");
    save.time_step = 0.1;
    cr_assert_eq(pdn_file_write("c.csv", &save, &error), PDN_OK);
    expect_content("c.csv", "t,u\n0,0\n0.1,0\n");
}

Test(file, numbers_are_the_shortest) {
    static const struct {
        double value;
        const char *f32, *f64;
    } rows[] = {
        {0.1, "0.1", "0.1"},
        {1.0 / 3, "0.33333334", "0.3333333333333333"},
        {1e-45, "1e-45", "1e-45"},
        {5e-324, "0", "5e-324"},
        {16777217, "16777216", "16777217"},
        {-2.5e30, "-2.5e+30", "-2.5e+30"},
        {INFINITY, "inf", "inf"},
        {NAN, "nan", "nan"},
    };
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it exists: a decimal comma must not come through */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_str_eq(pdn_number_text((float)rows[i].value, PDN_F32).text, rows[i].f32);
        cr_assert_str_eq(pdn_number_text(rows[i].value, PDN_F64).text, rows[i].f64);
    }
}

Test(file, series_of_pictures) {
    static const char *const names[3] = {"u", "a/b", "u"};
    PdnSave save = save_plane();
    save.frames = 2;
    cr_assert_eq(pdn_file_write("f.png", &save, &error), PDN_OK);
    cr_assert(access("f_0000.png", F_OK) == 0 && access("f_0001.png", F_OK) == 0);
    save.items = 3;
    save.names = names;
    cr_assert_eq(pdn_file_write("g.png", &save, &error), PDN_OK);
    cr_assert(access("g_u_0_0000.png", F_OK) == 0 && access("g_a_b_0001.png", F_OK) == 0 &&
              access("g_u_2_0001.png", F_OK) == 0);
    save.frames = 0;
    save.names = NULL;
    cr_assert_eq(pdn_file_write("h.png", &save, &error), PDN_OK);
    cr_assert(access("h_0.png", F_OK) == 0 && access("h_2.png", F_OK) == 0);
    cr_assert_eq(file_count(), 2 + 6 + 3);
}

Test(file, series_of_vti) {
    PdnSave save = save_plane();
    save.frames = 3;
    save.time_step = 0.5;
    cr_assert_eq(pdn_file_write("s&.vti", &save, &error), PDN_OK);
    cr_assert_eq(file_count(), 4);
    expect_content(
        "s&.pvd",
        "<?xml version=\"1.0\"?>\n<VTKFile type=\"Collection\" version=\"1.0\">\n  <Collection>\n"
        "    <DataSet timestep=\"0\" group=\"\" part=\"0\" file=\"s&amp;_0000.vti\"/>\n"
        "    <DataSet timestep=\"0.5\" group=\"\" part=\"0\" file=\"s&amp;_0001.vti\"/>\n"
        "    <DataSet timestep=\"1\" group=\"\" part=\"0\" file=\"s&amp;_0002.vti\"/>\n"
        "  </Collection>\n</VTKFile>\n");
}

/* Every format, in a folder whose disk is full after so many bytes: the old file stays, nothing else does. */
Test(file, full_disk_leaves_the_old_file) {
    static const char *const paths[] = {"a.png", "a.pgm", "a.npy", "a.npz",
                                        "a.vti", "a.csv", "a.txt"};
    static double noise[256 * 256];
    const void *data[1] = {noise};
    pdn_random(PDN_F64, 1, 1, 1, noise, 256 * 256);
    PdnSave save = {.type = PDN_F64, .rank = 2, .extent = {256, 256}, .channels = 1, .data = data};
    struct rlimit all;
    getrlimit(RLIMIT_FSIZE, &all);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        static const rlim_t limits[] = {0, 10, 5000, 60000};
        bool text = i == 6;
        cr_assert_eq(pdn_text_write(paths[i], "old", 3, &error), PDN_OK);
        for (int l = 0; l < 4; l++) {
            struct rlimit limit = {limits[l], all.rlim_max};
            setrlimit(RLIMIT_FSIZE, &limit);
            EXPECT_FAIL(text ? pdn_text_write(paths[i], (char *)noise, sizeof noise, &error)
                             : pdn_file_write(paths[i], &save, &error),
                        PDN_ERROR_OPEN, "File too large");
            cr_assert_not_null(strstr(error.message, paths[i]), "%s", error.message);
            setrlimit(RLIMIT_FSIZE, &all);
            expect_content(paths[i], "old");
            cr_assert_eq(file_count(), (int)i + 1, "%s", paths[i]);
        }
    }
}

/* The second frame of a film does not fit: no frame takes its place. */
Test(file, film_is_all_or_nothing) {
    static double noise[2][64 * 64];
    const void *data[2] = {noise[0], noise[1]};
    pdn_random(PDN_F64, 1, 1, 1, noise[1], 64 * 64); /* the first is black: a small file */
    PdnSave save = {
        .type = PDN_F64, .rank = 2, .extent = {64, 64}, .channels = 1, .frames = 2, .data = data};
    struct rlimit all, limit;
    getrlimit(RLIMIT_FSIZE, &all);
    limit = (struct rlimit){2000, all.rlim_max};
    cr_assert_eq(pdn_text_write("f_0000.png", "old", 3, &error), PDN_OK);
    setrlimit(RLIMIT_FSIZE, &limit);
    EXPECT_FAIL(pdn_file_write("f.png", &save, &error), PDN_ERROR_OPEN,
                "f_0001.png cannot be written: File too large");
    setrlimit(RLIMIT_FSIZE, &all);
    expect_content("f_0000.png", "old");
    cr_assert_eq(file_count(), 1);
    cr_assert_eq(pdn_file_write("f.png", &save, &error), PDN_OK);
    cr_assert_eq(file_count(), 2);
}

Test(file, full_device) {
    if (access("/dev/full", W_OK) != 0) { cr_skip("no /dev/full"); }
    static const char *const paths[] = {"l.png", "l.pgm", "l.npy", "l.vti", "l.csv"};
    PdnSave save = save_plane();
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(symlink("/dev/full", paths[i]), 0);
        EXPECT_FAIL(pdn_file_write(paths[i], &save, &error), PDN_ERROR_OPEN, "No space left");
        struct stat info;
        cr_assert(stat("/dev/full", &info) == 0 && S_ISCHR(info.st_mode)); /* not replaced */
    }
    cr_assert_eq(symlink("/dev/full", "l.npz"), 0);
    EXPECT_FAIL(pdn_file_write("l.npz", &save, &error), PDN_ERROR_ARGUMENT, "files only");
    cr_assert_eq(file_count(), 6);
}

Test(file, links_folders_and_modes) {
    PdnSave save = save_plane();
    mkdir("real", 0777);
    cr_assert_eq(pdn_text_write("real/a.csv", "old", 3, &error), PDN_OK);
    cr_assert_eq(chmod("real/a.csv", 0640), 0);
    cr_assert_eq(symlink("real/a.csv", "a.csv"), 0);
    cr_assert_eq(pdn_file_write("a.csv", &save, &error), PDN_OK);
    struct stat info;
    cr_assert(lstat("a.csv", &info) == 0 && S_ISLNK(info.st_mode));
    cr_assert(stat("real/a.csv", &info) == 0 && (info.st_mode & 0777) == 0640);
    expect_content("real/a.csv", "0,0.25,0.5\n0.75,1,0.125\n");
    cr_assert_eq(symlink("nowhere/b.csv", "b.csv"), 0);
    EXPECT_FAIL(pdn_file_write("b.csv", &save, &error), PDN_ERROR_OPEN,
                "symbolic link to a file that does not exist");
    cr_assert_eq(symlink("loop.csv", "loop.csv"), 0);
    EXPECT_FAIL(pdn_file_write("loop.csv", &save, &error), PDN_ERROR_OPEN, "Too many levels");
    mkdir("c.csv", 0777);
    EXPECT_FAIL(pdn_file_write("c.csv", &save, &error), PDN_ERROR_OPEN, "a folder has that name");
    EXPECT_FAIL(pdn_file_write("none/d.csv", &save, &error), PDN_ERROR_OPEN,
                "there is no folder none/");
    EXPECT_FAIL(pdn_file_write("a.csv/d.csv", &save, &error), PDN_ERROR_OPEN, "Not a directory");
    mode_t mask = umask(027);
    cr_assert_eq(pdn_file_write("new.csv", &save, &error), PDN_OK);
    umask(mask);
    cr_assert(stat("new.csv", &info) == 0 && (info.st_mode & 0777) == 0640);
    if (geteuid() != 0) {
        chmod("real", 0555);
        EXPECT_FAIL(pdn_file_write("real/e.csv", &save, &error), PDN_ERROR_OPEN,
                    "Permission denied");
        chmod("real", 0777);
        chmod("real/a.csv", 0444);
        EXPECT_FAIL(pdn_file_write("a.csv", &save, &error), PDN_ERROR_OPEN, "Permission denied");
    }
}

Test(file, sizes_that_make_no_sense) {
    PdnSave save = save_plane();
    save.extent[1] = 0;
    EXPECT_FAIL(pdn_file_write("a.npy", &save, &error), PDN_ERROR_SIZE, "without cells");
    save.extent[1] = -3;
    EXPECT_FAIL(pdn_file_write("a.npy", &save, &error), PDN_ERROR_SIZE, "without cells");
    save.extent[0] = save.extent[1] = INT64_C(1) << 40;
    EXPECT_FAIL(pdn_file_write("a.npy", &save, &error), PDN_ERROR_SIZE, "too many");
    cr_assert_eq(file_count(), 0);
}

/* What was written is read: each format of arrays and pictures, both types, channels and axes. */
Test(file, round_trips) {
    static double values[3 * 4 * 5 * 6];
    static float narrow[3 * 4 * 5 * 6];
    for (int i = 0; i < 360; i++) {
        values[i] = (i % 256) / 255.0;
        narrow[i] = (float)values[i];
    }
    static const char *const paths[] = {"a.npy", "a.npz", "a.png", "a.pgm", "a.ppm"};
    for (int p = 0; p < 5; p++) {
        for (int rank = 1; rank <= 3; rank++) {
            for (int channels = 1; channels <= 3; channels++) {
                for (int type = PDN_F32; type <= PDN_F64; type++) {
                    const void *data[1] = {type == PDN_F32 ? (void *)narrow : (void *)values};
                    PdnSave save = {.type = type,
                                    .rank = rank,
                                    .extent = {6, 5, 4},
                                    .channels = channels,
                                    .data = data};
                    if (pdn_file_can_write(paths[p], &save, NULL)) { continue; }
                    cr_assert_eq(pdn_file_write(paths[p], &save, &error), PDN_OK, "%s",
                                 error.message);
                    PdnArray array;
                    cr_assert_eq(pdn_file_read(paths[p], type, &array, &error), PDN_OK, "%s",
                                 error.message);
                    cr_assert_eq(array.rank, rank + (channels > 1));
                    cr_assert_eq(array.shape[array.rank - 1], 6);
                    cr_assert_eq(pdn_array_count(&array), pdn_save_cells(&save) * channels);
                    cr_assert_eq(memcmp(array.data, data[0],
                                        (size_t)pdn_array_count(&array) * pdn_type_size(type)),
                                 0);
                    int seen;
                    int64_t shape[PDN_MAX_RANK];
                    cr_assert_eq(pdn_file_shape(paths[p], &seen, shape, &error), PDN_OK);
                    cr_assert(seen == array.rank && memcmp(shape, array.shape, sizeof shape) == 0);
                    pdn_array_free(&array);
                }
            }
        }
    }
}

Test(file, npz_entries) {
    static const double other[6] = {1, 2, 3, 4, 5, 6};
    static const char *const names[2] = {"u", "v"};
    const void *data[2] = {plane, other};
    PdnSave save = save_plane();
    save.items = 2;
    save.names = names;
    save.data = data;
    cr_assert_eq(pdn_file_write("a.npz", &save, &error), PDN_OK);
    PdnArray array;
    cr_assert_eq(pdn_file_read("a.npz:v", PDN_F64, &array, &error), PDN_OK, "%s", error.message);
    cr_assert_eq(memcmp(array.data, other, sizeof other), 0);
    pdn_array_free(&array);
    cr_assert_eq(pdn_file_read("a.npz", PDN_F64, &array, &error), PDN_OK);
    cr_assert_eq(memcmp(array.data, plane, sizeof plane), 0);
    pdn_array_free(&array);
    EXPECT_FAIL(pdn_file_read("a.npz:w", PDN_F64, &array, &error), PDN_ERROR_FORMAT,
                "no array 'w'; it holds: u v");
    char *first = content("a.npz");
    cr_assert_eq(pdn_file_write("b.npz", &save, &error), PDN_OK);
    char *second = content("b.npz");
    cr_assert_eq(memcmp(first, second, 1 << 16), 0); /* no dates within */
    free(first);
    free(second);
}

/* What a process that was killed while it wrote the file has left; its own temporary file, by its own means. */
static void leave_behind(const char *path) {
    pid_t child = fork();
    if (child == 0) {
        Pending pending;
        FILE *file;
        const char *temp;
        pending_begin(&pending);
        pending_open(&pending, path, &file, &temp, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

Test(file, leftovers_of_killed_runs_go) {
    leave_behind("u.npy");
    leave_behind("u_0003.npy");
    leave_behind("v.npy");
    cr_assert_eq(file_count(), 3);
    pdn_file_tidy("u.npy", 0);
    cr_assert_eq(file_count(), 2);
    pdn_file_tidy("u.npy", 3); /* turns 0 to 2 */
    cr_assert_eq(file_count(), 2);
    pdn_file_tidy("u.npy", 4);
    cr_assert_eq(file_count(), 1);
    pdn_file_tidy("v.npy", 1);
    cr_assert_eq(file_count(), 0);
    pdn_file_tidy("none/v.npy", 1);
    pdn_file_tidy("v", 1);

    const void *frames[3] = {plane, plane, plane}; /* a series clears up when it is written */
    PdnSave save = save_plane();
    save.data = frames;
    save.frames = 3;
    leave_behind("u_0001.vti");
    leave_behind("w_0001.vti");
    cr_assert_eq(pdn_file_write("u.vti", &save, &error), PDN_OK, "%s", error.message);
    cr_assert_eq(file_count(), 3 + 1 + 1);
}
