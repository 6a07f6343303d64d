/* A task with one state of each kind, what it is filled with, and how that is found again: for
 * tests that are the same under each backend. */
#ifndef TESTS_STATE_LIB_TASK_H
#define TESTS_STATE_LIB_TASK_H

#include "state/impl.h"

#define KEYS 300

struct task {
    struct tide_states *states;
    struct tide_named *value, *list, *map, *split, *all, *broadcast;
};

/* Each test has a directory of its own, and in it one for each task. */
extern char directory[64];
extern const char *backend; /* of the tasks that are made from now on */
void make_directory(int i);
void remove_directory(void);
struct tide_states *new_states(uint32_t subtask, uint32_t p, uint32_t max);
struct tide_named *declare(struct tide_states *s, const char *name, enum tide_states_kind kind);
struct task new_task(uint32_t subtask, uint32_t p, uint32_t max);
void is_text(int rc, const void *const *data, const size_t *len, const char *want);
int count_key(const void *key, size_t len, void *user);
void fill(struct task *t, uint32_t subtask, uint32_t p, uint32_t max);
uint32_t check_own(struct task *t, uint32_t p_had, uint8_t seen[][4]);
void check_keyed(struct task *t, uint32_t subtask, uint32_t p, uint32_t max);

#endif
