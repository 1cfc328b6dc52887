/* A text that grows. */
#include "compiler/base/base.h"

#include <stdio.h>
#include <string.h>

static void make_room(Text *text, size_t length) {
    if (length > (size_t)INT32_MAX - text->len - 1) {
        vec_grow((void **)&text->data, &text->cap, UINT32_MAX, 1); /* ends in out of memory */
    }
    vec_reserve(text, text->len + (uint32_t)length + 1);
}

void text_add(Text *text, const char *bytes, size_t length) {
    make_room(text, length);
    if (length) { memcpy(text->data + text->len, bytes, length); }
    text->len += (uint32_t)length;
    text->data[text->len] = 0;
}

void text_puts(Text *text, const char *string) { text_add(text, string, strlen(string)); }

void text_vprintf(Text *text, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) { length = 0; }
    make_room(text, (size_t)length);
    text->data[text->len] = 0;
    vsnprintf(text->data + text->len, (size_t)length + 1, format, args);
    text->len += (uint32_t)length;
}

void text_printf(Text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

void text_free(Text *text) { vec_free(text); }

uint32_t utf8_decode(const char *at, size_t left, uint32_t *length) {
    const unsigned char *byte = (const unsigned char *)at;
    *length = 1;
    if (byte[0] < 0x80) { return byte[0]; }
    uint32_t count = byte[0] >= 0xF0 ? 4 : byte[0] >= 0xE0 ? 3 : 2;
    if (byte[0] < 0xC2 || byte[0] > 0xF4 || left < count) { return UINT32_MAX; }
    uint32_t point = byte[0] & (0x7Fu >> count);
    for (uint32_t i = 1; i < count; i++) {
        if ((byte[i] & 0xC0) != 0x80) { return UINT32_MAX; }
        point = point << 6 | (byte[i] & 0x3F);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < least[count] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
        return UINT32_MAX;
    }
    *length = count;
    return point;
}

char *text_message(const char *format, ...) {
    va_list args;
    va_start(args, format);
    Text text = {0};
    text_vprintf(&text, format, args);
    va_end(args);
    char *copy = mem_alloc(text.len + 1);
    memcpy(copy, text.data ? text.data : "", text.len + 1);
    text_free(&text);
    return copy;
}
