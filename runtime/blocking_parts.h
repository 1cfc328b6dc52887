/* blocking_parts: what the files of time blocking share. Private to runtime.
 *
 * blocking.c has the strips and how they are chosen, blocking_ends.c what is made apart where ends are neighbours. */
#ifndef PDN_BLOCKING_PARTS_H
#define PDN_BLOCKING_PARTS_H

#include "runtime/blocking.h"
#include "runtime/rooms.h"

#include <stdatomic.h>

/* Rows are those of the slowest axis, lines those of the one below: columns in 2D. In 1D, rows are the units of a launch,
 * of PDN_UNIT_CELLS cells. */
typedef struct {
    const PdnRelay *relay;
    int64_t rows, lines, row_bytes, line_bytes, grain; /* strips are multiples of `grain` lines */
    int64_t block, strips, strip, parts;
    int64_t lead[PDN_RELAY_STAGES],
        halo[PDN_RELAY_STAGES];     /* rows that a stage is ahead; lines on either side */
    int64_t ring[PDN_RELAY_FIELDS]; /* number of a field's first ring */
    int64_t rings, places;          /* places: of rows in a ring */
    int64_t own_rings;              /* those of fields that are nowhere else: the first */
    bool always;
    int64_t most_halo, beside; /* lines beside a strip: of stages; nobody's */
    PdnGrid grid;              /* strides of rings */
    int64_t ring_row, ring_bytes;
    Room *room;         /* as many as threads */
    atomic_flag *taken; /* of each: by a thread */
    int rooms;
    /* Where rows are read across the ends: those nearer to them than this are a part of their own. Where strips are cut and lines are
     * read across the ends: those nearer to them are a strip. */
    int64_t margin, edge;
    /* of fields that no stage makes: rows that they are copied ahead there */
    int64_t input_lead[PDN_RELAY_FIELDS];
} Blocking;

/* A strip of a part of the rows. */
typedef struct {
    const Blocking *blocking;
    char *rings;
    bool edge, seam;                  /* the strip of the lines, the part of the rows at the ends */
    PdnGrid frame;                    /* what stages see */
    int64_t left, right, low, high;   /* lines; rows of it */
    int64_t rows;                     /* that it has */
    int64_t first_line;               /* where rings begin */
    int64_t copied[PDN_RELAY_FIELDS]; /* at ends: rows below are copied */
    int64_t done[PDN_RELAY_STAGES];   /* rows below are made */
    PdnPart part[PDN_RELAY_STAGES];
    int64_t words[PDN_RELAY_STAGES][PDN_RELAY_WORDS];
} Unit;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- blocking_ends.c: units of an edge or a seam ---- */

static inline bool at_ends(const Unit *u) { return u->edge || u->seam; }
void ends_open(Blocking *b); /* gives whole fields rings, too */
void ends_frame(Unit *u);    /* sets u->frame */
/* Before stages go on to row y: what they read of whole fields, to rings. After stage `stage` made rows [from, end): to whole
 * fields. */
void ends_copy_in(Unit *u, int64_t y);
void ends_copy_out(const Unit *u, int64_t stage, int64_t from, int64_t end);

#endif
