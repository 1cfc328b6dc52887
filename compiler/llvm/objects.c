/* One ELF object of several. Sections stay what they are, one behind the other; symbols that one object has and others ask for
 * become one, and those that are hidden become local: a linker sees what it would have seen of one module. */
#include "compiler/llvm/parts.h"

#include <elf.h>
#include <string.h>

typedef struct {
    const uint8_t *bytes;
    size_t size;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *sections;
    const Elf64_Sym *symbols;
    uint32_t symbol_count;
    const char *strings;
    uint32_t strings_size;
    uint32_t first;    /* symbols of the parts before it */
    uint32_t *section; /* new numbers */
    uint32_t *symbol;
} Part;

typedef VEC(Elf64_Shdr) Sections;
typedef VEC(Elf64_Sym) Symbols;
typedef struct {
    Part *parts;
    uint32_t count;
    Arena *arena;
    Sections sections;
    Symbols symbols;
    uint32_t locals;
    uint32_t *number; /* of the symbols of all parts */
    Map chosen;
    Text out, names, strings; /* names: of sections; strings: of symbols */
} Join;

/* ---- reading --------------------------------------------------------------------------------------- */

static bool within(const Part *p, uint64_t offset, uint64_t size) {
    return offset <= p->size && size <= p->size - offset && offset % 8 == 0;
}

static bool is_known(const Elf64_Shdr *s) {
    switch (s->sh_type) {
    case SHT_NULL:
    case SHT_PROGBITS:
    case SHT_RELA:
    case SHT_SYMTAB:
    case SHT_STRTAB:
    case SHT_X86_64_UNWIND:
        return !(s->sh_flags & (SHF_GROUP | SHF_LINK_ORDER | SHF_TLS | SHF_COMPRESSED));
    default: return false;
    }
}

static bool read_symbols(Part *p, const Elf64_Shdr *s) {
    if (p->symbols || s->sh_link >= p->header->e_shnum || !within(p, s->sh_offset, s->sh_size))
        return false;
    const Elf64_Shdr *names = &p->sections[s->sh_link];
    p->symbols = (const Elf64_Sym *)(const void *)(p->bytes + s->sh_offset);
    p->symbol_count = (uint32_t)(s->sh_size / sizeof *p->symbols);
    if (names->sh_offset > p->size || names->sh_size > p->size - names->sh_offset) return false;
    p->strings = (const char *)p->bytes + names->sh_offset;
    p->strings_size = (uint32_t)names->sh_size;
    return p->strings_size && p->strings[p->strings_size - 1] == 0;
}

static bool read_part(Part *p, const Object *object, Arena *arena) {
    *p = (Part){.bytes = object->bytes, .size = object->size, .header = object->bytes};
    const Elf64_Ehdr *h = p->header;
    const union {
        uint16_t word;
        uint8_t byte;
    } one = {1};
    if (p->size < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 ||
        h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || one.byte != 1 ||
        h->e_type != ET_REL || h->e_shentsize != sizeof *p->sections ||
        !within(p, h->e_shoff, (uint64_t)h->e_shnum * sizeof *p->sections))
        return false;
    p->sections = (const Elf64_Shdr *)(const void *)(p->bytes + h->e_shoff);
    for (uint32_t i = 0; i < h->e_shnum; i++) {
        const Elf64_Shdr *s = &p->sections[i];
        if (!is_known(s) || s->sh_offset > p->size || s->sh_size > p->size - s->sh_offset)
            return false;
        if (s->sh_type == SHT_SYMTAB && !read_symbols(p, s)) return false;
    }
    p->section = ARENA_ARRAY(arena, uint32_t, h->e_shnum + 1u);
    for (uint32_t i = 0; i < p->symbol_count; i++)
        if (p->symbols[i].st_name >= p->strings_size ||
            (p->symbols[i].st_shndx >= h->e_shnum && p->symbols[i].st_shndx != SHN_ABS))
            return false;
    return p->symbols != NULL;
}

/* ---- symbols ----------------------------------------------------------------------------------------- */

static const char *name_of(const Part *p, uint32_t i) { return p->strings + p->symbols[i].st_name; }

/* Is it one that other objects cannot see? */
static bool becomes_local(const Elf64_Sym *s) {
    return ELF64_ST_BIND(s->st_info) == STB_LOCAL ||
           (s->st_shndx != SHN_UNDEF && ELF64_ST_VISIBILITY(s->st_other) == STV_HIDDEN);
}

static void add_symbol(Join *j, Part *p, uint32_t i) {
    Elf64_Sym s = p->symbols[i];
    p->symbol[i] = j->symbols.len;
    if (s.st_shndx != SHN_UNDEF && s.st_shndx != SHN_ABS)
        s.st_shndx = (Elf64_Section)p->section[s.st_shndx];
    if (becomes_local(&p->symbols[i]) && i > 0)
        s.st_info = ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(s.st_info));
    s.st_other = STV_DEFAULT;
    s.st_name = 0;
    if (*name_of(p, i)) {
        s.st_name = j->strings.len;
        text_add(&j->strings, name_of(p, i), strlen(name_of(p, i)) + 1);
    }
    vec_push(&j->symbols, s);
}

/* The symbols that others of their names are: the definition, else the first that asks for it. */
static void choose(Join *j) {
    for (uint32_t k = 0; k < j->count; k++)
        for (uint32_t i = 1; i < j->parts[k].symbol_count; i++) {
            const Part *p = &j->parts[k];
            uint64_t key = hash_bytes(0, name_of(p, i), strlen(name_of(p, i)));
            uint32_t old;
            if (ELF64_ST_BIND(p->symbols[i].st_info) == STB_LOCAL) continue;
            if (map_get(&j->chosen, key, &old) && p->symbols[i].st_shndx == SHN_UNDEF) continue;
            map_set(&j->chosen, key, p->first + i);
        }
}

/* Local ones stand first; then those that linkers see; then others are the same as these. */
static void join_symbols(Join *j) {
    vec_push(&j->symbols, ((Elf64_Sym){0}));
    text_add(&j->strings, "", 1);
    for (uint32_t pass = 0; pass < 3; pass++) {
        if (pass == 1) j->locals = j->symbols.len;
        for (uint32_t k = 0; k < j->count; k++)
            for (uint32_t i = 1; i < j->parts[k].symbol_count; i++) {
                Part *p = &j->parts[k];
                bool local = becomes_local(&p->symbols[i]);
                /* once */
                if (local && ELF64_ST_TYPE(p->symbols[i].st_info) == STT_FILE && k > 0) continue;
                if (local && pass == 0) add_symbol(j, p, i);
                if (local || pass == 0) continue;
                uint32_t chosen = p->first + i;
                map_get(&j->chosen, hash_bytes(0, name_of(p, i), strlen(name_of(p, i))), &chosen);
                if (chosen == p->first + i && pass == 1) add_symbol(j, p, i);
                if (chosen != p->first + i && pass == 2) p->symbol[i] = j->number[chosen];
            }
    }
}

/* ---- sections ------------------------------------------------------------------------------------------ */

static bool is_kept(const Part *p, const Elf64_Shdr *s, bool first) {
    const Elf64_Shdr *names = &p->sections[p->header->e_shstrndx];
    const char *name = (const char *)p->bytes + names->sh_offset + s->sh_name;
    if (s->sh_type == SHT_RELA) return true;
    return s->sh_type == SHT_X86_64_UNWIND ||
           (s->sh_type == SHT_PROGBITS && (first || strcmp(name, ".note.GNU-stack") != 0));
}

static void number_sections(Join *j) {
    uint32_t next = 1;
    for (uint32_t k = 0; k < j->count; k++)
        for (uint32_t i = 1; i < j->parts[k].header->e_shnum; i++) {
            Part *p = &j->parts[k];
            p->section[i] = is_kept(p, &p->sections[i], k == 0) ? next++ : 0;
        }
}

static void place(Join *j, Elf64_Shdr *s, const void *bytes, size_t size, size_t align) {
    while (j->out.len % (align ? align : 1)) text_add(&j->out, "", 1);
    s->sh_offset = j->out.len;
    s->sh_size = size;
    text_add(&j->out, bytes, size);
}

static void name_section(Join *j, Elf64_Shdr *s, const char *name) {
    s->sh_name = j->names.len;
    text_add(&j->names, name, strlen(name) + 1);
}

static void add_relocations(Join *j, const Part *p, const Elf64_Shdr *from, Elf64_Shdr *to,
                            uint32_t table) {
    size_t count = from->sh_size / sizeof(Elf64_Rela);
    Elf64_Rela *r = ARENA_ARRAY(j->arena, Elf64_Rela, count + 1);
    memcpy(r, p->bytes + from->sh_offset, count * sizeof *r);
    for (size_t i = 0; i < count; i++)
        r[i].r_info =
            ELF64_R_INFO((uint64_t)p->symbol[ELF64_R_SYM(r[i].r_info)], ELF64_R_TYPE(r[i].r_info));
    to->sh_link = table;
    to->sh_info = p->section[from->sh_info];
    place(j, to, r, count * sizeof *r, from->sh_addralign);
}

static void add_section(Join *j, const Part *p, uint32_t i, uint32_t table) {
    const Elf64_Shdr *from = &p->sections[i];
    Elf64_Shdr s = *from;
    name_section(j, &s,
                 (const char *)p->bytes + p->sections[p->header->e_shstrndx].sh_offset +
                     from->sh_name);
    if (s.sh_type == SHT_RELA)
        add_relocations(j, p, from, &s, table);
    else
        place(j, &s, p->bytes + from->sh_offset, from->sh_size, from->sh_addralign);
    vec_push(&j->sections, s);
}

static void add_tables(Join *j) {
    Elf64_Shdr symbols = {.sh_type = SHT_SYMTAB,
                          .sh_link = j->sections.len + 1,
                          .sh_info = j->locals,
                          .sh_addralign = 8,
                          .sh_entsize = sizeof(Elf64_Sym)};
    Elf64_Shdr strings = {.sh_type = SHT_STRTAB, .sh_addralign = 1}, names = strings;
    name_section(j, &symbols, ".symtab");
    name_section(j, &strings, ".strtab");
    name_section(j, &names, ".shstrtab");
    place(j, &symbols, j->symbols.data, j->symbols.len * sizeof(Elf64_Sym), 8);
    place(j, &strings, j->strings.data, j->strings.len, 1);
    place(j, &names, j->names.data, j->names.len, 1);
    vec_push(&j->sections, symbols);
    vec_push(&j->sections, strings);
    vec_push(&j->sections, names);
}

static void write_all(Join *j) {
    Elf64_Ehdr header = *j->parts[0].header;
    uint32_t table = 1, symbols = 0;
    for (uint32_t k = 0; k < j->count; k++) {
        j->parts[k].first = symbols;
        symbols += j->parts[k].symbol_count;
    }
    j->number = ARENA_ARRAY(j->arena, uint32_t, symbols + 1);
    for (uint32_t k = 0; k < j->count; k++) j->parts[k].symbol = j->number + j->parts[k].first;
    number_sections(j);
    choose(j);
    join_symbols(j);
    for (uint32_t k = 0; k < j->count; k++)
        for (uint32_t i = 1; i < j->parts[k].header->e_shnum; i++)
            table += j->parts[k].section[i] != 0;
    vec_push(&j->sections, ((Elf64_Shdr){0}));
    text_add(&j->names, "", 1);
    text_add(&j->out, (const char *)&header, sizeof header);
    for (uint32_t k = 0; k < j->count; k++)
        for (uint32_t i = 1; i < j->parts[k].header->e_shnum; i++)
            if (j->parts[k].section[i]) add_section(j, &j->parts[k], i, table);
    add_tables(j);
    Elf64_Shdr list;
    place(j, &list, j->sections.data, j->sections.len * sizeof list, 8);
    header.e_shoff = list.sh_offset;
    header.e_shnum = (Elf64_Half)j->sections.len;
    header.e_shstrndx = (Elf64_Half)(j->sections.len - 1);
    memcpy(j->out.data, &header, sizeof header);
}

bool objects_join(const Object *objects, uint32_t count, void **bytes, size_t *size, char **error) {
    Join j = {.count = count, .arena = arena_new()};
    j.parts = ARENA_ARRAY(j.arena, Part, count + 1);
    bool ok = true;
    for (uint32_t k = 0; k < count && ok; k++) ok = read_part(&j.parts[k], &objects[k], j.arena);
    if (ok) {
        write_all(&j);
        *bytes = j.out.data;
        *size = j.out.len;
    } else {
        *error = text_message("the objects of the parts cannot be joined");
        text_free(&j.out);
    }
    vec_free(&j.sections);
    vec_free(&j.symbols);
    map_free(&j.chosen);
    text_free(&j.names);
    text_free(&j.strings);
    arena_free(j.arena);
    return ok;
}
