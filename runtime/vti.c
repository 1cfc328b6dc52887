/* vti.c: VTK's ImageData files (https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html):
 * an XML header, then the raw values, which it points into. Fields live in the cells. */
#include "runtime/file.h"

#include <string.h>

static void put_xml(FILE *file, const char *text) {
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '&': fputs("&amp;", file); break;
        case '<': fputs("&lt;", file); break;
        case '>': fputs("&gt;", file); break;
        case '"': fputs("&quot;", file); break;
        default: fputc((unsigned char)*c < ' ' ? ' ' : *c, file);
        }
    }
}

PdnStatus pdn_vti_check(const char *name, const PdnSave *save, PdnError *error) {
    if (save->rank < 1) {
        return pdn_fail(error, PDN_ERROR_ARGUMENT,
                        "%s: vti holds fields on a grid; use npy or csv for numbers", name);
    }
    return PDN_OK;
}

/* The values of one field, channels together in each cell, after their number of bytes. */
static void put_values(PdnOutput *out, const PdnSave *save, const void *data) {
    int64_t cells = pdn_save_cells(save);
    size_t size = pdn_type_size(save->type);
    uint64_t bytes = (uint64_t)cells * (uint64_t)save->channels * size;
    fwrite(&bytes, sizeof bytes, 1, out->file);
    if (save->channels == 1) {
        fwrite(data, size, (size_t)cells, out->file);
        return;
    }
    for (int64_t cell = 0; cell < cells && !ferror(out->file); cell++) {
        for (int64_t channel = 0; channel < save->channels; channel++) {
            fwrite((const char *)data + (size_t)(channel * cells + cell) * size, size, 1,
                   out->file);
        }
    }
}

PdnStatus pdn_vti_write(PdnOutput *out, const PdnSave *save) {
    FILE *file = out->file;
    int64_t items = save->items ? save->items : 1;
    long long extent[3] = {0, 0, 0};
    char numbers[2][160] = {"", ""}; /* origin, spacing */
    for (int axis = 0; axis < 3; axis++) {
        bool used = axis < save->rank;
        extent[axis] = used ? save->extent[axis] : 0;
        double value[2] = {used ? save->origin[axis] : 0,
                           used && save->spacing[axis] ? save->spacing[axis] : 1};
        for (int i = 0; i < 2; i++) {
            size_t length = strlen(numbers[i]);
            snprintf(numbers[i] + length, sizeof numbers[i] - length, "%s%s", axis ? " " : "",
                     pdn_number_text(value[i], PDN_F64).text);
        }
    }
    const char *order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "LittleEndian" : "BigEndian";
    fprintf(
        file,
        "<?xml version=\"1.0\"?>\n"
        "<VTKFile type=\"ImageData\" version=\"1.0\" byte_order=\"%s\" header_type=\"UInt64\">\n"
        "  <ImageData WholeExtent=\"0 %lld 0 %lld 0 %lld\" Origin=\"%s\" Spacing=\"%s\">\n"
        "    <FieldData>\n"
        "      <DataArray type=\"Float64\" Name=\"TimeValue\" NumberOfTuples=\"1\" format=\"ascii\">%s"
        "</DataArray>\n"
        "    </FieldData>\n"
        "    <Piece Extent=\"0 %lld 0 %lld 0 %lld\">\n"
        "      <CellData Scalars=\"",
        order, extent[0], extent[1], extent[2], numbers[0], numbers[1],
        pdn_number_text(out->time, PDN_F64).text, extent[0], extent[1], extent[2]);
    put_xml(file, pdn_item_name(save, 0, "u").text);
    fputs("\">\n", file);
    uint64_t each =
        8 + (uint64_t)(pdn_save_cells(save) * save->channels) * pdn_type_size(save->type);
    for (int64_t item = 0; item < items; item++) {
        fprintf(file, "        <DataArray type=\"%s\" Name=\"",
                save->type == PDN_F32 ? "Float32" : "Float64");
        put_xml(file, pdn_item_name(save, item, "u").text);
        fprintf(file, "\" NumberOfComponents=\"%lld\" format=\"appended\" offset=\"%llu\"/>\n",
                (long long)save->channels, (unsigned long long)(each * (uint64_t)item));
    }
    fputs("      </CellData>\n    </Piece>\n  </ImageData>\n  <AppendedData encoding=\"raw\">\n_",
          file);
    for (int64_t item = 0; item < items && !ferror(file); item++) {
        put_values(out, save, save->data[item]);
    }
    fputs("\n  </AppendedData>\n</VTKFile>\n", file);
    return pdn_output_status(out);
}
