/* The work: heat that spreads over a square plate, cut into blocks of rows, a block for each
 * process. It knows nothing of processes, channels or snapshots.
 *
 * A step makes each inner cell the mean of its four neighbours (Jacobi's method). For the first and
 * the last row of a block that takes a row of the block above and below: the halo. The sum of a
 * cell's neighbours is always taken in the same order, so the result is the same, bit for bit, for
 * any number of blocks. */
#ifndef SOLVER_GRID_H
#define SOLVER_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grid {
    uint32_t size;        /* cells of a side of the whole plate */
    uint32_t first, rows; /* this block */
    double *now, *next;   /* rows + 2 rows: the halo above, the block, the halo below */
};

bool grid_new(struct grid *g, uint32_t size, uint32_t block, uint32_t blocks);
void grid_free(struct grid *g);
void grid_begin(struct grid *g); /* the plate as it is before the first step */
void grid_step(struct grid *g);  /* both halos are those of this step */
/* Row 0 is the halo above, row `rows` + 1 the one below. */
double *grid_row(struct grid *g, uint32_t row);

#endif
