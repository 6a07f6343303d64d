/* See grid.h */
#include <stdlib.h>
#include <string.h>

#include "grid.h"

double *grid_row(struct grid *g, uint32_t row)
{
    return g->now + (size_t)row * g->size;
}

bool grid_new(struct grid *g, uint32_t size, uint32_t block, uint32_t blocks)
{
    g->size = size;
    g->first = (uint32_t)((uint64_t)size * block / blocks);
    g->rows = (uint32_t)((uint64_t)size * (block + 1) / blocks) - g->first;
    g->now = calloc((size_t)g->rows + 2, size * sizeof *g->now);
    g->next = calloc((size_t)g->rows + 2, size * sizeof *g->next);
    return g->now && g->next;
}

void grid_free(struct grid *g)
{
    free(g->now);
    free(g->next);
}

/* Any value will do, if it is the same in every process: here a hash of the place, from 0 to 1. */
static double warmth(uint64_t place)
{
    place = (place + 1) * 0x9e3779b97f4a7c15u;
    place ^= place >> 29;
    return (double)(place * 0xbf58476d1ce4e5b9u >> 11) / 9007199254740992.0;
}

void grid_begin(struct grid *g)
{
    for (uint32_t row = 1; row <= g->rows; row++)
        for (uint32_t column = 0; column < g->size; column++)
            grid_row(g, row)[column] = warmth((uint64_t)(g->first + row - 1) * g->size + column);
}

void grid_step(struct grid *g)
{
    for (uint32_t row = 1; row <= g->rows; row++) {
        const double *above = grid_row(g, row - 1), *here = grid_row(g, row),
                     *below = grid_row(g, row + 1);
        double *to = g->next + (size_t)row * g->size;
        uint32_t whole = g->first + row - 1; /* its number in the plate, whose rim stays as it is */
        bool rim = whole == 0 || whole == g->size - 1;
        memcpy(to, here, g->size * sizeof *to);
        for (uint32_t c = 1; !rim && c + 1 < g->size; c++)
            to[c] = (above[c] + below[c] + here[c - 1] + here[c + 1]) / 4;
    }
    double *old = g->now;
    g->now = g->next;
    g->next = old;
}
