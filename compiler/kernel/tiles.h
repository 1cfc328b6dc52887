/* tiles: how convolutions are cut into tiles, and which way is the best one. */
#ifndef PDN_TILES_H
#define PDN_TILES_H

#include "compiler/kernel/plan_ir.h"

/* What is summed in registers at once. The gather: channels × vectors of cells, or, where `rows` is set, taps along
 * x × vectors of a row, `rows` rows of a channel one after another. The sums: channels × taps. */
typedef struct {
    uint32_t channels, vectors, taps, rows;
    /* channels last (emit_conv_last.c): cells × vectors of channels; taps × vectors */
    bool last;
    uint32_t cells, less; /* of a tile of the gather, and of a smaller one */
    bool winograd;        /* so of the points of minimal filtering (emit_conv_winograd.c) */
} ConvTile;

/* A form of a convolution on a machine. */
typedef struct {
    const Conv *conv;
    ConvForm form;
    bool chained; /* a member of a chain (compiler/llvm/emit_chain.h) */
    bool many;    /* 32 registers of vectors, else 16 */
    uint32_t lanes;
    bool exact; /* sums of the products themselves are asked for (Machine.exact) */
} TileFor;

/* Most taps times channels that one number of a phase gathers. */
uint32_t conv_gathered(const Conv *conv, ConvForm form);

/* The tile of a way; channels 0: it is not for this form. */
ConvTile conv_tile(const TileFor *f, ConvWay way);
/* Cycles of a core for a vector of numbers that are made (WEIGHTS: for a vector of cells of a channel of v), by a model: two
 * vectors are multiplied and added in a cycle, or loaded. */
double conv_tile_cost(const TileFor *f, ConvWay way);
/* The cheapest one by the model. */
ConvWay conv_best_way(const TileFor *f);
/* That which the plan gives, if it is one for this form, and in no chain; else the cheapest. */
ConvWay conv_way(const Plan *plan, uint32_t conv, ConvForm form, bool chained, bool many,
                 uint32_t lanes, bool exact);

#endif
