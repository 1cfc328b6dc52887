/* base: arena, growing arrays, texts, names, hashes, map, edit distance, UTF-8. */
#include "compiler/base/base.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(base_arena, blocks_are_zero_aligned_and_apart) {
    Arena *arena = arena_new();
    unsigned char *blocks[500];
    size_t sizes[500];
    for (size_t i = 0; i < 500; i++) {
        sizes[i] = i * i % 3001;
        blocks[i] = arena_alloc(arena, sizes[i]);
        cr_assert_eq((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < sizes[i]; k++) { cr_assert_eq(blocks[i][k], 0); }
        memset(blocks[i], (int)(i % 251) + 1, sizes[i]);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t k = 0; k < sizes[i]; k++) { cr_assert_eq(blocks[i][k], i % 251 + 1); }
    }
    arena_free(arena);
}

Test(base_arena, texts_and_formats) {
    Arena *arena = arena_new();
    cr_assert_str_eq(arena_text(arena, "abcdef", 3), "abc");
    cr_assert_str_eq(arena_text(arena, "", 0), "");
    cr_assert_str_eq(arena_format(arena, "%d %s", 7, "x"), "7 x");
    char *longer = arena_format(arena, "%0*d", 5000, 1);
    cr_assert_eq(strlen(longer), 5000);
    cr_assert_eq(longer[4999], '1');
    int numbers[3] = {1, 2, 3};
    int *copy = arena_copy(arena, numbers, sizeof numbers);
    numbers[1] = 9;
    cr_assert_eq(copy[1], 2);
    cr_assert_geq(arena_bytes(arena), 5000);
    arena_free(arena);
    arena_free(NULL);
}

Test(base_vec, grows_and_keeps) {
    VEC(uint64_t) v = {0};
    for (uint64_t i = 0; i < 100000; i++) { vec_push(&v, i * i); }
    cr_assert_eq(v.len, 100000);
    for (uint64_t i = 0; i < 100000; i++) { cr_assert_eq(v.data[i], i * i); }
    cr_assert_eq(vec_last(&v), UINT64_C(99999) * 99999);
    cr_assert_eq(vec_pop(&v), UINT64_C(99999) * 99999);
    cr_assert_eq(v.len, 99999);
    vec_free(&v);
    cr_assert_null(v.data);
    cr_assert_eq(v.cap, 0);
}

Test(base_text, adds_and_ends_with_zero) {
    Text text = {0};
    text_add(&text, "a\0b", 3);
    cr_assert_eq(text.len, 3);
    cr_assert_eq(memcmp(text.data, "a\0b", 4), 0);
    text_puts(&text, "cd");
    text_printf(&text, "%s-%d", "e", 5);
    cr_assert_eq(text.len, 8);
    cr_assert_str_eq(text.data + 2, "bcde-5");
    for (int i = 0; i < 1000; i++) { text_printf(&text, "%d", i % 10); }
    cr_assert_eq(text.len, 1008);
    cr_assert_eq(strlen(text.data + 2), 1006);
    text_free(&text);
    cr_assert_null(text.data);
}

Test(base_names, equal_names_have_equal_numbers) {
    Names *names = names_new();
    Name first[3000];
    char buffer[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(buffer, sizeof buffer, "name%d", i);
        first[i] = names_of(names, buffer);
        cr_assert_neq(first[i], 0);
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(buffer, sizeof buffer, "name%d", i);
        cr_assert_eq(names_of(names, buffer), first[i]);
        cr_assert_str_eq(names_text(names, first[i]), buffer);
        cr_assert(i == 0 || first[i] != first[i - 1]);
    }
    cr_assert_eq(names_intern(names, "name12345", 5), first[1]);
    cr_assert_eq(names_intern(names, "", 0), 0);
    cr_assert_str_eq(names_text(names, 0), "");
    cr_assert_str_eq(names_text(names, 1u << 30), "");
    names_free(names);
}

Test(base_hash, depends_on_seed_order_and_length) {
    cr_assert_eq(hash_bytes(1, "abc", 3), hash_bytes(1, "abc", 3));
    cr_assert_neq(hash_bytes(1, "abc", 3), hash_bytes(2, "abc", 3));
    cr_assert_neq(hash_bytes(1, "abc", 3), hash_bytes(1, "acb", 3));
    cr_assert_neq(hash_bytes(1, "a\0", 2), hash_bytes(1, "a", 1));
    cr_assert_neq(hash_mix(1, 2), hash_mix(2, 1));
    cr_assert_neq(hash_mix(0, 0), 0);
}

Test(base_map, holds_every_key_also_zero) {
    Map map = {0};
    uint32_t value = 7;
    cr_assert_not(map_get(&map, 0, &value));
    cr_assert_not(map_get(&map, 5, NULL));
    for (uint64_t i = 0; i < 20000;
         i++) { /* multiples of a power of two: a poor hash would crawl */
        map_set(&map, i << 40, (uint32_t)i + 1);
    }
    cr_assert_eq(map.len, 20000);
    for (uint64_t i = 0; i < 20000; i++) {
        cr_assert(map_get(&map, i << 40, &value));
        cr_assert_eq(value, i + 1);
    }
    cr_assert_not(map_get(&map, 12345, &value));
    map_set(&map, 0, 99);
    map_set(&map, UINT64_C(1) << 40, 98);
    cr_assert_eq(map.len, 20000);
    cr_assert(map_get(&map, 0, &value) && value == 99);
    cr_assert(map_get(&map, UINT64_C(1) << 40, &value) && value == 98);
    map_free(&map);
    cr_assert_eq(map.cap, 0);
}

/* The definition, without a band: optimal string alignment. */
static uint32_t distance_by_definition(const char *a, const char *b) {
    size_t m = strlen(a), n = strlen(b);
    uint32_t d[16][16];
    for (size_t i = 0; i <= m; i++) {
        for (size_t j = 0; j <= n; j++) {
            uint32_t best = i == 0 ? (uint32_t)j : j == 0 ? (uint32_t)i : UINT32_MAX;
            if (i && j) {
                uint32_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
                best = change;
                best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
                best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                    d[i - 2][j - 2] + 1 < best) {
                    best = d[i - 2][j - 2] + 1;
                }
            }
            d[i][j] = best;
        }
    }
    return d[m][n];
}

Test(base_edit_distance, known) {
    cr_assert_eq(edit_distance("", "", 3), 0);
    cr_assert_eq(edit_distance("kitten", "sitting", 9), 3);
    cr_assert_eq(edit_distance("heat", "haet", 9), 1);
    cr_assert_eq(edit_distance("abc", "", 9), 3);
    cr_assert_eq(edit_distance("kitten", "sitting", 2), 3, "limit + 1");
    cr_assert_eq(edit_distance("kitten", "sitting", UINT32_MAX), 3);
    cr_assert_eq(edit_distance("a", "abcdef", 2), 3);
    cr_assert_eq(edit_distance("same", "same", 0), 0);
    cr_assert_eq(edit_distance("same", "sane", 0), 1);
}

Test(base_edit_distance, agrees_with_the_definition_for_every_limit) {
    srand(7);
    for (int trial = 0; trial < 20000; trial++) {
        char a[12] = {0}, b[12] = {0};
        for (int i = rand() % 11; i-- > 0;) { a[i] = (char)('a' + rand() % 3); }
        for (int i = rand() % 11; i-- > 0;) { b[i] = (char)('a' + rand() % 3); }
        uint32_t limit = (uint32_t)(rand() % 12), truth = distance_by_definition(a, b);
        uint32_t expected = truth <= limit ? truth : limit + 1;
        cr_assert_eq(edit_distance(a, b, limit), expected, "%s %s limit %u", a, b, limit);
    }
}

Test(base_utf8, decodes_what_is_valid_and_nothing_else) {
    uint32_t length;
    cr_assert_eq(utf8_decode("a", 1, &length), 'a');
    cr_assert_eq(utf8_decode("\xCE\xBB", 2, &length), 0x3BB);
    cr_assert_eq(length, 2);
    cr_assert_eq(utf8_decode("\xE2\x88\x87", 3, &length), 0x2207);
    cr_assert_eq(length, 3);
    cr_assert_eq(utf8_decode("\xF4\x8F\xBF\xBF", 4, &length), 0x10FFFF);
    cr_assert_eq(length, 4);
    static const char *const wrong[] = {
        "\x80",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xED\xA0\x80", /* a surrogate */
        "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80",
        "\xFF",
        "\xC3(",
        "\xE2\x88",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_eq(utf8_decode(wrong[i], strlen(wrong[i]), &length), UINT32_MAX, "%zu", i);
        cr_assert_eq(length, 1);
    }
    cr_assert_eq(utf8_decode("\xCE\xBB", 1, &length), UINT32_MAX, "cut off");
}
