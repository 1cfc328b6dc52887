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
    if (length) {
        memcpy(text->data + text->len, bytes, length);
    }
    text->len += (uint32_t)length;
    text->data[text->len] = 0;
}

void text_puts(Text *text, const char *string) { text_add(text, string, strlen(string)); }

void text_vprintf(Text *text, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        length = 0;
    }
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
