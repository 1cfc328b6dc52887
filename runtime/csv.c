/* csv.c: tables of numbers, each the shortest that reads back as the same value. */
#include "runtime/file.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* With a decimal point whatever the user's language: the caller has set the C locale. */
static void shortest(double value, PdnType type, PdnNumberText *to) {
    if (isnan(value)) {
        strcpy(to->text, "nan");
        return;
    }
    bool narrow = type == PDN_F32;
    bool tiny = fabs(value) < (narrow ? 1.18e-38 : 2.23e-308); /* fewer digits may do */
    for (int digits = tiny ? 1 : narrow ? 6 : 15; digits <= 17; digits++) {
        snprintf(to->text, sizeof to->text, "%.*g", digits, value);
        if (narrow ? strtof(to->text, NULL) == (float)value : strtod(to->text, NULL) == value) {
            return;
        }
    }
}

PdnNumberText pdn_number_text(double value, PdnType type) {
    PdnNumberText text;
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale_t old = c ? uselocale(c) : (locale_t)0;
    shortest(value, type, &text);
    if (c) {
        uselocale(old);
        freelocale(c);
    }
    return text;
}

PdnStatus pdn_csv_check(const char *name, const PdnSave *save, PdnError *error) {
    if (save->rank > 2) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "%s: csv holds fields of up to two dimensions; use npy or vti", name);
    }
    if (save->rank == 2 && (save->channels > 1 || save->items > 1 || save->frames > 1)) {
        return pdn_fail(
            error, PDN_ERROR_ARGUMENT,
            "%s: csv holds one 2D field of one channel; use npy or npz for channels, lists and films",
            name);
    }
    return PDN_OK;
}

static void put(FILE *file, double value, PdnType type, bool first) {
    PdnNumberText text;
    shortest(value, type, &text);
    fprintf(file, "%s%s", first ? "" : ",", text.text);
}

/* A name as a cell: in quotes where it holds a comma, a quote or a line end. */
static void put_name(FILE *file, const char *name, int64_t channel, bool first) {
    bool quoted = strpbrk(name, ",\"\r\n") != NULL;
    fputs(first ? "" : ",", file);
    fputs(quoted ? "\"" : "", file);
    for (const char *c = name; *c; c++) {
        fputs(*c == '"' ? "\"" : "", file);
        fputc(*c, file);
    }
    if (channel >= 0) { fprintf(file, "_%lld", (long long)channel); }
    fputs(quoted ? "\"" : "", file);
}

static void put_plane(FILE *file, const PdnSave *save) {
    for (int64_t y = 0; y < save->extent[1] && !ferror(file); y++) {
        for (int64_t x = 0; x < save->extent[0]; x++) {
            put(file, pdn_save_value(save, save->data[0], y * save->extent[0] + x), save->type,
                x == 0);
        }
        fputc('\n', file);
    }
}

static void put_columns(FILE *file, const PdnSave *save) {
    int64_t items = save->items ? save->items : 1, frames = save->frames ? save->frames : 1;
    int64_t cells = save->rank ? save->extent[0] : 1;
    bool timed = save->time_step != 0, first = true;
    if (save->frames) {
        put_name(file, timed ? "t" : "frame", -1, first);
        first = false;
    }
    if (save->rank) {
        put_name(file, "x", -1, first);
        first = false;
    }
    for (int64_t item = 0; item < items; item++) {
        PdnItemName name = pdn_item_name(save, item, "u");
        for (int64_t channel = 0; channel < save->channels; channel++, first = false) {
            put_name(file, name.text, save->channels > 1 ? channel : -1, first);
        }
    }
    fputc('\n', file);
    double spacing = save->spacing[0] != 0 ? save->spacing[0] : 1;
    for (int64_t row = 0; row < frames * cells && !ferror(file); row++) {
        int64_t frame = row / cells, cell = row % cells;
        first = true;
        if (save->frames) {
            put(file, timed ? save->time_step * (double)frame : (double)frame, PDN_F64, first);
            first = false;
        }
        if (save->rank) {
            put(file, save->origin[0] + ((double)cell + 0.5) * spacing, PDN_F64, first);
            first = false;
        }
        for (int64_t item = 0; item < items; item++) {
            for (int64_t channel = 0; channel < save->channels; channel++, first = false) {
                put(file,
                    pdn_save_value(save, save->data[frame * items + item], channel * cells + cell),
                    save->type, first);
            }
        }
        fputc('\n', file);
    }
}

PdnStatus pdn_csv_write(PdnOutput *out, const PdnSave *save) {
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale_t old = c ? uselocale(c) : (locale_t)0;
    if (save->rank == 2) {
        put_plane(out->file, save);
    } else {
        put_columns(out->file, save);
    }
    if (c) {
        uselocale(old);
        freelocale(c);
    }
    return pdn_output_status(out);
}
