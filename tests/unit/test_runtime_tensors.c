/* safetensors and checkpoints: the bytes that are written, what is read from bytes, what is refused and how it is
 * said. A reader and a writer that are not ours: tests/python/test_safetensors.py; kills: tests/check/kill.py. */
#define _GNU_SOURCE /* nftw */
#include <criterion/criterion.h>

#include "runtime/file.h"
#include "tests/unit/temporary_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(tensors, .init = enter_folder, .fini = leave_folder);
TestSuite(checkpoint, .init = enter_folder, .fini = leave_folder);

static int file_count(void) {
    int count = 0;
    DIR *dir = opendir(".");
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    }
    closedir(dir);
    return count;
}

static char *content(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *bytes = calloc(1, 1 << 16);
    *length = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

static void expect_bytes(const char *path, const void *expected, size_t count) {
    size_t length;
    char *bytes = content(path, &length);
    cr_assert_eq(length, count, "%zu bytes instead of %zu: %.200s", length, count, bytes + 8);
    cr_assert_eq(memcmp(bytes, expected, count), 0, "%.200s", bytes + 8);
    free(bytes);
}

static void write_ok(const char *path, const PdnTensor *tensors, int count,
                     const char *const (*metadata)[2], int pairs) {
    PdnError error = {""};
    cr_assert_eq(pdn_tensors_write(path, tensors, count, metadata, pairs, &error), PDN_OK, "%s",
                 error.message);
}

static PdnTensors *read_ok(const char *path) {
    PdnError error = {""};
    PdnTensors *tensors;
    cr_assert_eq(pdn_tensors_read(path, &tensors, &error), PDN_OK, "%s", error.message);
    return tensors;
}

/* ---- writing -------------------------------------------------------------------------- */

/* The three files that the reference library's own tests expect (safetensors/src/tensor.rs: test_serialization,
 * test_serialization_forced_alignement, test_empty). */
Test(tensors, bytes_of_the_reference) {
    const float numbers[] = {0, 1, 2, 3, 4, 5};
    PdnTensor tensor = {"attn.0", PDN_F32, 3, {1, 2, 3}, numbers};
    write_ok("a.safetensors", &tensor, 1, NULL, 0);
    static const char first[] =
        "\x40\0\0\0\0\0\0\0{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}"
        "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40";
    expect_bytes("a.safetensors", first, sizeof first - 1);
    tensor = (PdnTensor){"attn0", PDN_F32, 4, {1, 1, 2, 3}, numbers};
    write_ok("a.safetensors", &tensor, 1, NULL, 0);
    static const char second[] =
        "\x48\0\0\0\0\0\0\0{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]}}"
        "       \0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40";
    expect_bytes("a.safetensors", second, sizeof second - 1);
    write_ok("a.safetensors", NULL, 0, NULL, 0);
    expect_bytes("a.safetensors", "\x08\0\0\0\0\0\0\0{}      ", 16);
    const char *const metadata[][2] = {{"framework", "pt"}};
    write_ok("a.safetensors", NULL, 0, metadata, 1);
    static const char third[] = "\x28\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ";
    expect_bytes("a.safetensors", third, sizeof third - 1);
    cr_assert_eq(file_count(), 1);
}

/* Wide types first, then names; keys by name: whatever order they are given in. */
Test(tensors, file_is_a_function_of_its_content) {
    const float f[] = {1, 2};
    const double d[] = {3, 4, 5};
    const PdnTensor tensors[] = {{"b", PDN_F32, 1, {2}, f},
                                 {"a", PDN_F32, 0, {0}, f},
                                 {"z", PDN_F64, 1, {3}, d},
                                 {"\xc3\xa4", PDN_F32, 2, {2, 0}, NULL}};
    const PdnTensor other[] = {tensors[3], tensors[2], tensors[1], tensors[0]};
    const char *const metadata[][2] = {{"y", "1"}, {"x", "a \"b\"\n"}};
    const char *const turned[][2] = {{"x", "a \"b\"\n"}, {"y", "1"}};
    write_ok("a.safetensors", tensors, 4, metadata, 2);
    write_ok("b.safetensors", other, 4, turned, 2);
    size_t length;
    char *bytes = content("a.safetensors", &length);
    expect_bytes("b.safetensors", bytes, length);
    static const char header[] =
        "{\"__metadata__\":{\"x\":\"a \\\"b\\\"\\n\",\"y\":\"1\"},"
        "\"z\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[0,24]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[24,28]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[28,36]},"
        "\"\xc3\xa4\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[36,36]}}";
    cr_assert_eq(memcmp(bytes + 8, header, sizeof header - 1), 0, "%s", bytes + 8);
    cr_assert_eq((unsigned char)bytes[0] % 8, 0);
    free(bytes);

    PdnTensors *read = read_ok("a.safetensors");
    cr_assert_eq(pdn_tensors_count(read), 4);
    cr_assert_str_eq(pdn_tensors_at(read, 0)->name, "a");
    cr_assert_str_eq(pdn_tensors_at(read, 3)->name, "\xc3\xa4");
    cr_assert_null(pdn_tensors_at(read, 4));
    cr_assert_null(pdn_tensors_find(read, "c"));
    const PdnTensor *z = pdn_tensors_find(read, "z"), *a = pdn_tensors_find(read, "a");
    cr_assert(z && z->type == PDN_F64 && z->rank == 1 && z->shape[0] == 3);
    cr_assert_eq(memcmp(z->data, d, sizeof d), 0);
    cr_assert(a->type == PDN_F32 && a->rank == 0 && *(const float *)a->data == 1);
    cr_assert_eq(pdn_tensor_count(a), 1);
    cr_assert_eq(pdn_tensor_count(pdn_tensors_at(read, 3)), 0);
    cr_assert_eq((uintptr_t)z->data % 64, 0);
    const char *key;
    cr_assert_eq(pdn_tensors_metadata_count(read), 2);
    cr_assert_str_eq(pdn_tensors_metadata_at(read, 1, &key), "1");
    cr_assert_str_eq(key, "y");
    cr_assert_str_eq(pdn_tensors_metadata(read, "x"), "a \"b\"\n");
    cr_assert_null(pdn_tensors_metadata(read, "z"));
    pdn_tensors_free(read);
}

Test(tensors, refuses_to_write) {
    const float f[2] = {1, 2};
    const PdnTensor good = {"a", PDN_F32, 1, {2}, f};
    const struct {
        PdnTensor second;
        const char *message;
    } cases[] = {
        {{"a", PDN_F64, 1, {0}, NULL}, "two have the name 'a'"},
        {{"__metadata__", PDN_F32, 1, {2}, f}, "a name that the format has taken"},
        {{"\xff", PDN_F32, 1, {2}, f}, "not UTF-8"},
        {{NULL, PDN_F32, 1, {2}, f}, "without a name"},
        {{"b", PDN_F32, 9, {2}, f}, "too many axes"},
        {{"b", PDN_F32, 2, {-1, 2}, f}, "more numbers than can be counted"},
        {{"b", PDN_F32, 2, {INT64_MAX, 2}, f}, "more numbers than can be counted"},
        {{"b", PDN_F32, 1, {2}, NULL}, "without numbers"},
    };
    write_ok("a.safetensors", &good, 1, NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const PdnTensor both[] = {good, cases[i].second};
        PdnError error = {""};
        cr_assert_eq(pdn_tensors_write("a.safetensors", both, 2, NULL, 0, &error),
                     PDN_ERROR_ARGUMENT, "%zu", i);
        cr_assert(strstr(error.message, cases[i].message), "%s", error.message);
    }
    const char *const twice[][2] = {{"k", "1"}, {"k", "2"}};
    const char *const bad[][2] = {{"k", "\xc3"}};
    const char *const none[][2] = {{"k", NULL}};
    PdnError error;
    cr_assert_eq(pdn_tensors_write("a.safetensors", &good, 1, twice, 2, &error),
                 PDN_ERROR_ARGUMENT);
    cr_assert(strstr(error.message, "two have the name 'k'"), "%s", error.message);
    cr_assert_eq(pdn_tensors_write("a.safetensors", &good, 1, bad, 1, &error), PDN_ERROR_ARGUMENT);
    cr_assert_eq(pdn_tensors_write("a.safetensors", &good, 1, none, 1, &error), PDN_ERROR_ARGUMENT);
    cr_assert_eq(pdn_tensors_write("no/a.safetensors", &good, 1, NULL, 0, &error), PDN_ERROR_OPEN);
    cr_assert(strstr(error.message, "there is no folder no/"), "%s", error.message);
    PdnTensors *read = read_ok("a.safetensors"); /* the old file, and nothing beside it */
    cr_assert_eq(pdn_tensors_count(read), 1);
    pdn_tensors_free(read);
    cr_assert_eq(file_count(), 1);
}

Test(tensors, failed_write_leaves_the_old_file) {
    float *numbers = calloc(1 << 20, sizeof *numbers);
    PdnTensor tensor = {"a", PDN_F32, 1, {2}, numbers};
    write_ok("a.safetensors", &tensor, 1, NULL, 0);
    struct rlimit limit = {1 << 16, 1 << 16};
    setrlimit(RLIMIT_FSIZE, &limit);
    tensor.shape[0] = 1 << 20;
    PdnError error;
    cr_assert_eq(pdn_tensors_write("a.safetensors", &tensor, 1, NULL, 0, &error), PDN_ERROR_OPEN);
    cr_assert(strstr(error.message, "File too large"), "%s", error.message);
    PdnTensors *read = read_ok("a.safetensors");
    cr_assert_eq(pdn_tensors_at(read, 0)->shape[0], 2);
    pdn_tensors_free(read);
    cr_assert_eq(file_count(), 1);
    free(numbers);
}

/* ---- reading ------------------------------------------------------------------------------ */

static PdnStatus read_text(const char *header, const void *data, size_t bytes, PdnTensors **out,
                           PdnError *error) {
    size_t length = strlen(header);
    uint8_t *all = malloc(8 + length + bytes);
    for (int i = 0; i < 8; i++) { all[i] = (uint8_t)((uint64_t)length >> 8 * i); }
    memcpy(all + 8, header, length);
    if (bytes) { memcpy(all + 8 + length, data, bytes); }
    PdnStatus status = pdn_tensors_read_bytes("t", all, 8 + length + bytes, out, error);
    free(all);
    return status;
}

/* Two numbers of each type, by their bytes. */
Test(tensors, every_type) {
    const struct {
        const char *type, *bytes;
        int size;
        PdnType to;
        double first, second;
    } cases[] = {
        {"F64", "\0\0\0\0\0\0\xf8\x3f\0\0\0\0\0\0\xf0\xff", 8, PDN_F64, 1.5, -INFINITY},
        {"F32", "\0\0\xc0\x3f\xff\xff\x7f\x7f", 4, PDN_F32, 1.5, 0x1.fffffep127},
        {"F16", "\x01\x3c\x01\x80", 2, PDN_F32, 1 + 0x1p-10, -0x1p-24},
        {"BF16", "\x81\x3f\0\xc0", 2, PDN_F32, 1 + 0x1p-7, -2},
        {"I64", "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x40", 8, PDN_F64, -1, 0x1p62},
        {"U64", "\xff\xff\xff\xff\xff\xff\xff\xff\1\0\0\0\0\0\0\0", 8, PDN_F64, 0x1p64, 1},
        {"I32", "\xff\xff\xff\x7f\0\0\0\x80", 4, PDN_F64, 2147483647, -2147483648.},
        {"U32", "\xff\xff\xff\xff\1\0\0\0", 4, PDN_F64, 4294967295., 1},
        {"I16", "\xff\x7f\0\x80", 2, PDN_F32, 32767, -32768},
        {"U16", "\xff\xff\1\0", 2, PDN_F32, 65535, 1},
        {"I8", "\x7f\x80", 1, PDN_F32, 127, -128},
        {"U8", "\xff\1", 1, PDN_F32, 255, 1},
        {"BOOL", "\0\1", 1, PDN_F32, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* thirty-five of them, so that what is widened in place has to be in the right order */
        enum { COUNT = 35 };
        char header[128];
        uint8_t bytes[8 * COUNT];
        int size = cases[i].size;
        snprintf(header, sizeof header,
                 "{\"x\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", cases[i].type,
                 COUNT, COUNT * size);
        for (int n = 0; n < COUNT; n++) {
            memcpy(bytes + n * size, cases[i].bytes + n % 2 * size, (size_t)size);
        }
        PdnTensors *read;
        PdnError error;
        cr_assert_eq(read_text(header, bytes, (size_t)(COUNT * size), &read, &error), PDN_OK, "%s",
                     error.message);
        const PdnTensor *x = pdn_tensors_find(read, "x");
        cr_assert_eq(x->type, cases[i].to, "%s", cases[i].type);
        for (int n = 0; n < COUNT; n++) {
            double value =
                x->type == PDN_F32 ? ((const float *)x->data)[n] : ((const double *)x->data)[n];
            double expected = n % 2 ? cases[i].second : cases[i].first;
            cr_assert_eq(value, expected, "%s %d: %g", cases[i].type, n, value);
        }
        pdn_tensors_free(read);
    }
}

#define ENTRY(shape, begin, end)                                                                   \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

Test(tensors, refused_headers) {
    const struct {
        const char *header;
        size_t bytes;
        PdnStatus status;
        const char *message;
    } cases[] = {
        {"{\"a\":" ENTRY("[2]", 0, 8) "}", 4, PDN_ERROR_FORMAT,
         "'a' ends beyond the end of the file"},
        {"{\"a\":" ENTRY("[2]", 0, 8) "}", 12, PDN_ERROR_FORMAT, "4 bytes belong to no array"},
        {"{}", 1, PDN_ERROR_FORMAT, "1 bytes belong to no array"},
        {"{\"a\":" ENTRY("[2]", 0, 8) ",\"b\":" ENTRY("[2]", 4, 12) "}", 12, PDN_ERROR_FORMAT,
         "'b' overlaps"},
        {"{\"a\":" ENTRY("[2]", 0, 8) ",\"b\":" ENTRY("[2]", 0, 8) "}", 8, PDN_ERROR_FORMAT,
         "overlaps"},
        {"{\"a\":" ENTRY("[2]", 0, 8) ",\"b\":" ENTRY("[1]", 12, 16) "}", 16, PDN_ERROR_FORMAT,
         "'b' comes after a hole"},
        {"{\"a\":" ENTRY("[2]", 4, 12) "}", 12, PDN_ERROR_FORMAT, "'a' comes after a hole"},
        {"{\"a\":" ENTRY("[2]", 8, 0) "}", 8, PDN_ERROR_FORMAT, "where its numbers are"},
        {"{\"a\":" ENTRY("[2]", -8, 0) "}", 8, PDN_ERROR_FORMAT, "where its numbers are"},
        {"{\"a\":" ENTRY("[2]", 0, 12) "}", 12, PDN_ERROR_FORMAT, "'a' needs 8 bytes and has 12"},
        {"{\"a\":" ENTRY("[4611686018427387904,4]", 0, 0) "}", 0, PDN_ERROR_FORMAT,
         "more numbers than can be counted"},
        {"{\"a\":" ENTRY("[2305843009213693951]", 0, 8) "}", 8, PDN_ERROR_FORMAT,
         "'a' needs 9223372036854775804 bytes"},
        {"{\"a\":" ENTRY("[2]", 0, 99999999999999999999) "}", 8, PDN_ERROR_FORMAT,
         "too big integer"},
        {"{\"a\":" ENTRY("[2.0]", 0, 8) "}", 8, PDN_ERROR_FORMAT, "no length"},
        {"{\"a\":" ENTRY("[-2]", 0, 8) "}", 8, PDN_ERROR_FORMAT, "no length"},
        {"{\"a\":" ENTRY("2", 0, 8) "}", 8, PDN_ERROR_FORMAT, "'a' has no shape"},
        {"{\"a\":" ENTRY("[1,1,1,1,1,1,1,1,2]", 0, 8) "}", 8, PDN_ERROR_LIMIT,
         "'a' has 9 axes: at most 8"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, PDN_ERROR_FORMAT, "'a' has no type"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, PDN_ERROR_LIMIT,
         "F8_E4M3, which is not read"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, PDN_ERROR_FORMAT,
         "where its numbers are"},
        {"{\"a\":[]}", 0, PDN_ERROR_FORMAT, "'a' has no type"},
        {"{\"a\":" ENTRY("[2]", 0, 8) ",\"a\":" ENTRY("[2]", 8, 16) "}", 16, PDN_ERROR_FORMAT,
         "duplicate object key"},
        {"{\"a\":" ENTRY("[2]", 0, 8) ",\"\\u0061\":" ENTRY("[2]", 8, 16) "}", 16, PDN_ERROR_FORMAT,
         "duplicate object key"},
        {"{\"\xff\":" ENTRY("[2]", 0, 8) "}", 8, PDN_ERROR_FORMAT, "unable to decode byte 0xff"},
        {"{\"a\\u0000b\":" ENTRY("[2]", 0, 8) "}", 8, PDN_ERROR_FORMAT, "no JSON that is read"},
        {"{\"__metadata__\":{\"a\":1}}", 0, PDN_ERROR_FORMAT, "'a' of its __metadata__ is no text"},
        {"{\"__metadata__\":[]}", 0, PDN_ERROR_FORMAT, "its __metadata__ is no map"},
        {"{} x", 0, PDN_ERROR_FORMAT, "no JSON that is read"},
        {"{\"a\":", 0, PDN_ERROR_FORMAT, "no JSON that is read"},
        {" {}", 0, PDN_ERROR_FORMAT, "does not begin like one"},
        {"[]", 0, PDN_ERROR_FORMAT, "does not begin like one"},
        {"", 9, PDN_ERROR_FORMAT, "does not begin like one"},
    };
    static const uint8_t zeros[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PdnTensors *read = (PdnTensors *)folder;
        PdnError error = {""};
        PdnStatus status = read_text(cases[i].header, zeros, cases[i].bytes, &read, &error);
        cr_assert_eq(status, cases[i].status, "%s: %s", cases[i].header, error.message);
        cr_assert(strstr(error.message, cases[i].message), "%s: %s", cases[i].header,
                  error.message);
        cr_assert_null(read);
    }
}

/* In any order, with white space and things that are not known. */
Test(tensors, accepted_headers) {
    const float numbers[] = {1, 2, 3};
    const char *const headers[] = {
        "{\"b\":" ENTRY("[2]", 4, 12) ",\"a\":" ENTRY("[1]", 0, 4) "}",
        "{ \"a\" : " ENTRY("[1]", 0, 4) ",\n\"b\":" ENTRY("[1,2]", 4, 12) "}  \n",
        "{\"a\":{\"more\":[{}],\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"b\":" ENTRY(
            "[2]", 4, 12) ",\"c\":" ENTRY("[0,4611686018427387904,4611686018427387904]", 12,
                                          12) ",\"d\":" ENTRY("[0]", 0, 0) "}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        PdnTensors *read;
        PdnError error = {""};
        cr_assert_eq(read_text(headers[i], numbers, sizeof numbers, &read, &error), PDN_OK, "%s",
                     error.message);
        cr_assert_eq(*(const float *)pdn_tensors_find(read, "a")->data, 1);
        cr_assert_eq(((const float *)pdn_tensors_find(read, "b")->data)[1], 3);
        pdn_tensors_free(read);
    }
}

Test(tensors, lengths_of_headers) {
    PdnTensors *read;
    PdnError error;
    cr_assert_eq(
        pdn_tensors_read_bytes("t", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &read, &error),
        PDN_ERROR_LIMIT);
    cr_assert_eq(pdn_tensors_read_bytes("t", "\1\xe1\xf5\5\0\0\0\0{}", 10, &read, &error),
                 PDN_ERROR_LIMIT); /* 100,000,001 */
    cr_assert(strstr(error.message, "its header has 100000001 bytes: at most 100000000"), "%s",
              error.message);
    cr_assert_eq(pdn_tensors_read_bytes("t", "\0\xe1\xf5\5\0\0\0\0{}", 10, &read, &error),
                 PDN_ERROR_FORMAT);
    cr_assert(strstr(error.message, "is cut off"), "%s", error.message);
    cr_assert_eq(pdn_tensors_read("missing.safetensors", &read, &error), PDN_ERROR_OPEN);
    cr_assert_eq(pdn_tensors_read(".", &read, &error), PDN_ERROR_OPEN);
    cr_assert_eq(close(open("empty", O_CREAT | O_WRONLY, 0600)), 0);
    cr_assert_eq(pdn_tensors_read("empty", &read, &error), PDN_ERROR_FORMAT);
    cr_assert_str_eq(error.message, "empty is empty");
    char deep[20000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    deep[sizeof deep - 1] = 0;
    cr_assert_eq(read_text(deep, NULL, 0, &read, &error), PDN_ERROR_FORMAT);
    cr_assert(strstr(error.message, "maximum parsing depth"), "%s", error.message);
}

/* Every shorter file is refused, and a changed byte never does harm (sanitizers see more). */
Test(tensors, damaged) {
    const double d[] = {1, 2};
    const float f[] = {3};
    const PdnTensor tensors[] = {{"d", PDN_F64, 1, {2}, d}, {"f", PDN_F32, 1, {1}, f}};
    const char *const metadata[][2] = {{"k", "v"}};
    write_ok("a.safetensors", tensors, 2, metadata, 1);
    size_t length;
    char *bytes = content("a.safetensors", &length);
    for (size_t cut = 0; cut < length; cut++) {
        PdnTensors *read;
        PdnError error = {""};
        char *part = malloc(cut + 1); /* its own, so that a byte too far is seen */
        memcpy(part, bytes, cut);
        cr_assert_neq(pdn_tensors_read_bytes("t", part, cut, &read, &error), PDN_OK, "%zu", cut);
        cr_assert(error.message[0]);
        free(part);
    }
    for (size_t i = 0; i < length; i++) {
        for (int bit = 0; bit < 8; bit++) {
            PdnTensors *read;
            PdnError error = {""};
            bytes[i] ^= (char)(1 << bit);
            PdnStatus status = pdn_tensors_read_bytes("t", bytes, length, &read, &error);
            bytes[i] ^= (char)(1 << bit);
            cr_assert((status == PDN_OK) == (read != NULL) && (read || error.message[0]));
            pdn_tensors_free(read);
        }
    }
    free(bytes);
}

Test(tensors, get) {
    const double d[] = {1.1, 1e300};
    const float f[] = {3, 4};
    const PdnTensor tensors[] = {{"d", PDN_F64, 1, {2}, d}, {"f", PDN_F32, 2, {1, 2}, f}};
    write_ok("a.safetensors", tensors, 2, NULL, 0);
    PdnTensors *read = read_ok("a.safetensors");
    double to_d[2];
    float to_f[2];
    const int64_t line[] = {2}, row[] = {1, 2};
    PdnError error;
    cr_assert_eq(pdn_tensors_get(read, "d", PDN_F64, 1, line, to_d, &error), PDN_OK);
    cr_assert(to_d[0] == d[0] && to_d[1] == d[1]);
    cr_assert_eq(pdn_tensors_get(read, "f", PDN_F64, 2, row, to_d, &error), PDN_OK);
    cr_assert(to_d[0] == 3 && to_d[1] == 4);
    cr_assert_eq(pdn_tensors_get(read, "f", PDN_F32, 2, row, to_f, &error), PDN_OK);
    cr_assert(to_f[0] == 3 && to_f[1] == 4);
    cr_assert_eq(pdn_tensors_get(read, "d", PDN_F32, 1, line, to_f, &error), PDN_ERROR_FORMAT);
    cr_assert(strstr(error.message, "a.safetensors: the array 'd' holds 1e+300"), "%s",
              error.message);
    cr_assert_eq(pdn_tensors_get(read, "f", PDN_F32, 1, line, to_f, &error), PDN_ERROR_FORMAT);
    cr_assert(strstr(error.message, "'f' is 1 x 2, not 2"), "%s", error.message);
    cr_assert_eq(pdn_tensors_get(read, "g", PDN_F32, 1, line, to_f, &error), PDN_ERROR_FORMAT);
    cr_assert(strstr(error.message, "no array 'g'; it holds: d f"), "%s", error.message);
    pdn_tensors_free(read);
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static const float weights[] = {1, 2, 3, 4, 5, 6};
static const PdnTensor state[] = {{"K", PDN_F32, 2, {2, 3}, weights},
                                  {"adam.m", PDN_F32, 1, {6}, weights}};
static const PdnIdentity identity[] = {{"the program", "line one\nline two\nline three\n"},
                                       {"the optimiser", "adam(rate = 0.001)"}};

static PdnCheckpoint training(void) {
    return (PdnCheckpoint){.epoch = 7,
                           .step = 700,
                           .epoch_steps = 100,
                           .seed = UINT64_MAX,
                           .identity = identity,
                           .identity_count = 2,
                           .tensors = state,
                           .count = 2};
}

static void write_checkpoint(PdnCheckpoint checkpoint) {
    PdnError error = {""};
    cr_assert_eq(pdn_checkpoint_write("c", &checkpoint, &error), PDN_OK, "%s", error.message);
}

static void refused(PdnCheckpoint now, const char *message) {
    PdnError error = {""};
    PdnTensors *read = (PdnTensors *)folder;
    now.epoch = now.step = -1;
    cr_assert_eq(pdn_checkpoint_read("c", &now, &read, &error), PDN_ERROR_FORMAT, "%s", message);
    cr_assert(strstr(error.message, message), "%s", error.message);
    cr_assert(strstr(error.message, "begin anew without --resume"), "%s", error.message);
    cr_assert(now.epoch == -1 && read == NULL);
}

Test(checkpoint, goes_on) {
    write_checkpoint(training());
    PdnCheckpoint now = training();
    now.epoch = now.step = 0;
    PdnTensors *read;
    PdnError error = {""};
    cr_assert_eq(pdn_checkpoint_read("c", &now, &read, &error), PDN_OK, "%s", error.message);
    cr_assert(now.epoch == 7 && now.step == 700 && now.seed == UINT64_MAX);
    cr_assert_eq(memcmp(pdn_tensors_find(read, "K")->data, weights, sizeof weights), 0);
    pdn_tensors_free(read);
    read = read_ok("c"); /* a safetensors file like any other */
    cr_assert_str_eq(pdn_tensors_metadata(read, "identity: the optimiser"), "adam(rate = 0.001)");
    cr_assert_str_eq(pdn_tensors_metadata(read, "epoch"), "7");
    pdn_tensors_free(read);
    cr_assert_eq(pdn_checkpoint_read("none", &now, &read, &error), PDN_ERROR_OPEN);
}

Test(checkpoint, says_what_differs) {
    write_checkpoint(training());
    PdnCheckpoint now = training();
    PdnIdentity parts[3] = {identity[0], identity[1], {"the data", "images"}};
    now.identity = parts;
    parts[0].text = "line one\nline 2\nline three\n";
    refused(now,
            "the program differs in line 2: it was 'line two' and is now 'line 2'; undo that, or");
    parts[0].text = "line one\nline two\n";
    refused(now, "the program differs in line 3: it was 'line three' and is now ''");
    parts[0].text = "";
    refused(now, "the program differs in line 1: it was 'line one' and is now ''");
    parts[0] = identity[0];
    parts[1].text = "sgd(rate = 0.001)";
    refused(now, "the optimiser was 'adam(rate = 0.001)' and is now 'sgd(rate = 0.001)'");
    parts[1] = identity[1];
    now.identity_count = 3;
    refused(now, "it does not say what the data was");
    now.identity_count = 1;
    refused(now, "'the optimiser' has no meaning here");
    now = training();
    now.seed = 3;
    refused(
        now,
        "with --seed 18446744073709551615, and now the seed is 3: give --seed 18446744073709551615, or");
    now = training();
    PdnTensor tensors[] = {state[0], state[1], state[0]};
    now.tensors = tensors;
    tensors[0].shape[1] = 4;
    refused(now, "its 'K' is 2 x 3, not 2 x 4");
    tensors[0] = state[0];
    tensors[0].type = PDN_F64;
    refused(now, "was computed in f32, and this training computes in f64");
    tensors[0] = state[0];
    tensors[2].name = "b";
    now.count = 3;
    refused(now, "does not hold 'b'");
    now.count = 1;
    refused(now, "nothing here is called 'adam.m'");
    PdnTensors *read; /* and without a change it goes on */
    now = training();
    cr_assert_eq(pdn_checkpoint_read("c", &now, &read, NULL), PDN_OK);
    pdn_tensors_free(read);
}

/* An epoch and a step that do not belong together, here or at all. */
Test(checkpoint, epoch_and_step_belong_together) {
    PdnCheckpoint now = training();
    write_checkpoint(now);
    now.epoch_steps = 80; /* of fewer samples */
    refused(now, "is of epoch 7 and step 700, and with 80 steps an epoch that step is of epoch 8");
    now.epoch_steps = 1000;
    refused(now, "with 1000 steps an epoch that step is of epoch 0");
    now.epoch_steps = 0;
    refused(now, "is of 7 epochs, and this training has none");
    now = training();
    now.steps = 699;
    refused(now, "is of step 700, and this training ends at step 699");
    for (int64_t step = 700; step <= 800; step += 50) { /* up to a part of an epoch */
        PdnCheckpoint part = training();
        part.step = step;
        write_checkpoint(part);
        now = training();
        now.steps = 800;
        if (step == 800) {
            refused(now, "contradicts itself, or the data");
            continue;
        }
        PdnTensors *read;
        cr_assert_eq(pdn_checkpoint_read("c", &now, &read, NULL), PDN_OK);
        cr_assert(now.epoch == 7 && now.step == step);
        pdn_tensors_free(read);
    }
}

/* Long lines are shown around the place, cut between characters. */
Test(checkpoint, long_lines) {
    char was[400] = "", is[400];
    for (int i = 0; i < 60; i++) { strcat(was, "\xc3\xa4\xc3\xb6"); }
    strcpy(is, was);
    memcpy(was + 120, "old", 3);
    memcpy(is + 120, "new", 3);
    was[123] = is[123] = 'x';
    PdnIdentity part = {"the optimiser", was};
    PdnCheckpoint now = {.identity = &part, .identity_count = 1};
    write_checkpoint(now);
    part.text = is;
    refused(now, "\xb6oldx\xc3\xa4");
    refused(now, "\xb6newx\xc3\xa4");
    PdnError error;
    PdnTensors *read;
    pdn_checkpoint_read("c", &now, &read, &error);
    cr_assert_null(strchr(error.message, '?'), "%s", error.message);
}

Test(checkpoint, other_files) {
    write_ok("c", state, 2, NULL, 0);
    refused(training(), "c is no checkpoint of training");
    const char *const later[][2] = {{"pdn.checkpoint", "2"}};
    write_ok("c", state, 2, later, 1);
    refused(training(), "another pdn (version 2 of checkpoints, this one reads 1)");
    const char *const bad[] = {
        "", "-1", "x", "1x", " 1", "9223372036854775808", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *const broken[][2] = {
            {"pdn.checkpoint", "1"}, {"epoch", bad[i]}, {"step", "1"}, {"seed", "1"}};
        write_ok("c", state, 2, broken, 4);
        refused(training(), "it does not say its epoch, step and seed");
    }
}

/* The number of a process that is no more. */
static long dead_process(void) {
    pid_t pid = fork();
    if (pid == 0) { _exit(0); }
    waitpid(pid, NULL, 0);
    return pid;
}

static void touch(const char *name) { close(open(name, O_CREAT | O_WRONLY, 0600)); }

/* What a killed run left beside the file goes; what others write, and what is of another file, stays. (That the
 * names are those that the writer gives is seen by tests/check/kill.py.) */
Test(checkpoint, stale_files_are_removed) {
    char of_dead[64], of_alive[64], of_other[64];
    PdnError error = {""};
    unsigned hash = 2166136261u;
    hash = (hash ^ 'c') * 16777619u;
    snprintf(of_dead, sizeof of_dead, ".pdn-%08x-%ld-00000001.tmp", hash, dead_process());
    snprintf(of_alive, sizeof of_alive, ".pdn-%08x-%ld-00000001.tmp", hash, (long)getppid());
    snprintf(of_other, sizeof of_other, ".pdn-%08x-%ld-00000001.tmp", hash + 1, dead_process());
    touch(of_dead);
    touch(of_alive);
    touch(of_other);
    cr_assert_eq(pdn_checkpoint_prepare("c", &error), PDN_OK, "%s", error.message);
    cr_assert_neq(access(of_dead, F_OK), 0);
    cr_assert_eq(access(of_alive, F_OK), 0);
    cr_assert_eq(access(of_other, F_OK), 0);
    cr_assert_eq(file_count(), 2);
    cr_assert_eq(mkdir("sub", 0700), 0);
    cr_assert_eq(pdn_checkpoint_prepare("sub/c", &error), PDN_OK);
    cr_assert_eq(pdn_checkpoint_prepare("sub", &error), PDN_ERROR_OPEN);
    cr_assert_eq(pdn_checkpoint_prepare("none/c", &error), PDN_ERROR_OPEN);
    cr_assert(strstr(error.message, "there is no folder none/"), "%s", error.message);
}
