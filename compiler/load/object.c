/* A linker for the objects that we make: ELF, x86-64, code and constants only. It lays the sections out in
 * one mapping, resolves what they ask of the maths library, and makes the mapping executable and read-only.
 * Anything unknown is refused, and the caller links with LLVM instead. */
#define _GNU_SOURCE
#include "compiler/load/load.h"

#include <dlfcn.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

void object_unlink(Linked *linked) {
    if (linked->memory) munmap(linked->memory, linked->size);
    linked->memory = NULL;
}

#if !defined(__x86_64__)

bool object_link(const void *bytes, size_t size, Linked *out) { return false; }

#else

typedef struct {
    const uint8_t *bytes;
    size_t size;
    const Elf64_Shdr *sections;
    uint32_t count;
    const Elf64_Sym *symbols;
    uint32_t symbol_count;
    const char *strings;
    size_t strings_size;
    size_t *place; /* by section: where it stands in the mapping, or SIZE_MAX */
    size_t *stub;  /* by symbol: its stub and pointer in the mapping, or SIZE_MAX */
    size_t stubs_begin, total;
    uint8_t *memory;
    void *maths;
} Linker;

enum { STUB = 16 }; /* jmp *pointer(%rip); padding; pointer */

static bool within(const Linker *l, uint64_t offset, uint64_t size) {
    return offset <= l->size && size <= l->size - offset;
}

static bool open_object(Linker *l) {
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)(const void *)l->bytes;
    if (!within(l, 0, sizeof *h) || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 ||
        h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64 || h->e_type != ET_REL ||
        h->e_shentsize != sizeof(Elf64_Shdr) ||
        !within(l, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr)) || h->e_shoff % 8 != 0)
        return false;
    l->sections = (const Elf64_Shdr *)(const void *)(l->bytes + h->e_shoff);
    l->count = h->e_shnum;
    for (uint32_t i = 0; i < l->count; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (s->sh_type != SHT_NOBITS && !within(l, s->sh_offset, s->sh_size)) return false;
        if (s->sh_type != SHT_SYMTAB) continue;
        if (s->sh_link >= l->count || s->sh_offset % 8 != 0) return false;
        const Elf64_Shdr *names = &l->sections[s->sh_link];
        l->symbols = (const Elf64_Sym *)(const void *)(l->bytes + s->sh_offset);
        l->symbol_count = (uint32_t)(s->sh_size / sizeof(Elf64_Sym));
        l->strings = (const char *)l->bytes + names->sh_offset;
        l->strings_size = names->sh_size;
        if (names->sh_type != SHT_STRTAB || names->sh_size == 0 ||
            l->strings[names->sh_size - 1] != 0)
            return false;
    }
    return l->symbols != NULL;
}

/* Places of the sections that are needed at run time, and of stubs for what is not in the object. */
static bool lay_out(Linker *l, Arena *arena) {
    l->place = ARENA_ARRAY(arena, size_t, l->count + 1);
    l->stub = ARENA_ARRAY(arena, size_t, l->symbol_count + 1);
    size_t at = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        l->place[i] = SIZE_MAX;
        if (!(s->sh_flags & SHF_ALLOC) || s->sh_type == SHT_X86_64_UNWIND || s->sh_size == 0)
            continue;
        if (s->sh_flags & (SHF_WRITE | SHF_TLS) || s->sh_type != SHT_PROGBITS ||
            s->sh_addralign > 4096)
            return false;
        size_t align = s->sh_addralign ? s->sh_addralign : 1;
        at = (at + align - 1) / align * align;
        l->place[i] = at;
        at += s->sh_size;
    }
    at = (at + 15) / 16 * 16;
    l->stubs_begin = at;
    for (uint32_t i = 0; i < l->symbol_count; i++) {
        l->stub[i] = SIZE_MAX;
        if (i > 0 && l->symbols[i].st_shndx == SHN_UNDEF &&
            ELF64_ST_TYPE(l->symbols[i].st_info) != STT_FILE) {
            l->stub[i] = at;
            at += STUB;
        }
    }
    l->total = (at + 4095) / 4096 * 4096;
    return l->total > 0;
}

static void *resolve(Linker *l, const char *name) {
    void *found = dlsym(RTLD_DEFAULT, name);
    if (!found && !l->maths) l->maths = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    if (!found && l->maths) found = dlsym(l->maths, name);
    return found;
}

static bool fill(Linker *l) {
    for (uint32_t i = 0; i < l->count; i++)
        if (l->place[i] != SIZE_MAX)
            memcpy(l->memory + l->place[i], l->bytes + l->sections[i].sh_offset,
                   l->sections[i].sh_size);
    for (uint32_t i = 0; i < l->symbol_count; i++) {
        if (l->stub[i] == SIZE_MAX) continue;
        if (l->symbols[i].st_name >= l->strings_size) return false;
        void *target = resolve(l, l->strings + l->symbols[i].st_name);
        if (!target) return false;
        static const uint8_t jump[8] = {0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc};
        memcpy(l->memory + l->stub[i], jump, sizeof jump);
        memcpy(l->memory + l->stub[i] + 8, &target, sizeof target);
    }
    return true;
}

/* Address of a symbol within the mapping. `pointer`: of the word that holds its address. */
static bool symbol_at(const Linker *l, uint32_t number, bool pointer, size_t *at) {
    if (number >= l->symbol_count) return false;
    const Elf64_Sym *s = &l->symbols[number];
    if (l->stub[number] != SIZE_MAX) {
        *at = l->stub[number] + (pointer ? 8 : 0);
        return true;
    }
    if (pointer || s->st_shndx >= l->count || l->place[s->st_shndx] == SIZE_MAX ||
        s->st_value > l->sections[s->st_shndx].sh_size)
        return false;
    *at = l->place[s->st_shndx] + s->st_value;
    return true;
}

static bool relocate(const Linker *l, size_t section, const Elf64_Rela *r) {
    uint32_t type = (uint32_t)ELF64_R_TYPE(r->r_info);
    bool pointer =
        type == R_X86_64_GOTPCREL || type == R_X86_64_GOTPCRELX || type == R_X86_64_REX_GOTPCRELX;
    size_t width = type == R_X86_64_64 ? 8 : 4, symbol;
    if (r->r_offset > l->sections[section].sh_size ||
        width > l->sections[section].sh_size - r->r_offset ||
        !symbol_at(l, (uint32_t)ELF64_R_SYM(r->r_info), pointer, &symbol))
        return false;
    size_t place = l->place[section] + r->r_offset;
    uint8_t *to = l->memory + place;
    if (type == R_X86_64_64) {
        uint64_t value = (uint64_t)(uintptr_t)(l->memory + symbol) + (uint64_t)r->r_addend;
        memcpy(to, &value, sizeof value);
        return true;
    }
    if (!pointer && type != R_X86_64_PC32 && type != R_X86_64_PLT32) return false;
    int64_t value = (int64_t)symbol + r->r_addend - (int64_t)place;
    int32_t small = (int32_t)value;
    memcpy(to, &small, sizeof small);
    return small == value;
}

static bool relocate_all(const Linker *l) {
    for (uint32_t i = 0; i < l->count; i++) {
        const Elf64_Shdr *s = &l->sections[i];
        if (s->sh_type != SHT_RELA || s->sh_info >= l->count || l->place[s->sh_info] == SIZE_MAX)
            continue;
        if (s->sh_offset % 8 != 0) return false;
        const Elf64_Rela *r = (const Elf64_Rela *)(const void *)(l->bytes + s->sh_offset);
        for (size_t k = 0; k < s->sh_size / sizeof *r; k++)
            if (!relocate(l, s->sh_info, &r[k])) return false;
    }
    return true;
}

static bool find_symbol(const Linker *l, const char *name, void *to) {
    for (uint32_t i = 1; i < l->symbol_count; i++) {
        size_t at;
        if (l->symbols[i].st_name >= l->strings_size ||
            strcmp(l->strings + l->symbols[i].st_name, name) != 0 || l->stub[i] != SIZE_MAX ||
            !symbol_at(l, i, false, &at))
            continue;
        void *address = l->memory + at;
        memcpy(to, &address, sizeof address);
        return true;
    }
    return false;
}

bool object_link(const void *bytes, size_t size, Linked *out) {
    Linker l = {.bytes = bytes, .size = size};
    Arena *arena = arena_new();
    *out = (Linked){0};
    bool ok = (uintptr_t)bytes % 8 == 0 && open_object(&l) && lay_out(&l, arena);
    if (ok) {
        void *memory =
            mmap(NULL, l.total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ok = memory != MAP_FAILED;
        if (ok) {
            l.memory = out->memory = memory;
            out->size = l.total;
        }
    }
    ok = ok && fill(&l) && relocate_all(&l) &&
         find_symbol(&l, "pdn_program_run", &out->entry.run) &&
         find_symbol(&l, "pdn_program_workspace", &out->entry.workspace) &&
         mprotect(out->memory, out->size, PROT_READ | PROT_EXEC) == 0;
    if (!ok) object_unlink(out);
    arena_free(arena);
    return ok;
}

#endif
