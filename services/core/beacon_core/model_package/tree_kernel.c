/* The sums of trees by bit masks, as tree_masks.py computes them with numpy: see there for what the tables mean. */
#include <stdint.h>
#include <string.h>

typedef struct {
  int64_t column;           /* whose value chooses the line */
  int64_t count;            /* of the thresholds, which rise */
  const double *thresholds;
  const uint32_t *lines;    /* (count + 1, trees): what each tree has left after so many thresholds below the value */
} ColumnTable;

typedef struct {
  const ColumnTable *tables;
  int64_t columns;
  const double *leaves;     /* (trees, 32) */
  int64_t trees;            /* MOST_TREES at most */
} Part;

#define MOST_TREES 512

/* Adds to `sums` (rows) what the trees of all parts answer to `values` (rows, width). */
void beacon_add_trees(const Part *part, int64_t parts, const double *values, int64_t rows, int64_t width,
                      double *sums) {
  uint32_t remaining[MOST_TREES];
  for (; parts > 0; parts--, part++) {
    const int64_t trees = part->trees;
    for (int64_t row = 0; row < rows; row++) {
      memset(remaining, 0xFF, (size_t)trees * sizeof *remaining);
      for (int64_t column = 0; column < part->columns; column++) {
        const ColumnTable *table = &part->tables[column];
        const double value = values[row * width + table->column];
        int64_t below = 0;
        for (int64_t left = table->count; left > 0;) {
          const int64_t half = left / 2;
          if (table->thresholds[below + half] >= value) { /* never for a NaN, which numpy sorts last, too */
            left = half;
          } else {
            below += half + 1;
            left -= half + 1;
          }
        }
        const uint32_t *line = table->lines + below * trees;
        for (int64_t tree = 0; tree < trees; tree++) remaining[tree] &= line[tree];
      }
      double sum = 0;
      /* The lowest bit is set, so that a mask without a leaf, which no right table has, reads no foreign memory. */
      for (int64_t tree = 0; tree < trees; tree++)
        sum += part->leaves[tree * 32 + 31 - __builtin_clz(remaining[tree] | 1)];
      sums[row] += sum;
    }
  }
}
