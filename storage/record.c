/* Commits and their records: plain memory, owned by the commit's arena.
 *
 * The usual way: the core makes a commit, adds records, hands it to the store, and whoever gets the
 * outcome frees it. What can go wrong is memory alone: the first failure sticks in rc, the adding
 * functions then do nothing, and the maker looks once at the end. */
#include "storage/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "storage/alloc.h"

/* Commit handles dominate: 64 KiB each at most. A commit beyond this is refused, not attempted. */
#define COMMIT_ARENA_MAX ((size_t)512 << 20)

static bool (*mem_fault)(void);

void tide_mem_set_fault(bool (*fault)(void))
{
    mem_fault = fault;
}

void *tide_mem_alloc(size_t size)
{
    if (mem_fault && mem_fault()) return NULL;
    return malloc(size ? size : 1);
}

void *tide_mem_zalloc(size_t n, size_t size)
{
    if (mem_fault && mem_fault()) return NULL;
    return calloc(n ? n : 1, size ? size : 1);
}

void *tide_mem_realloc(void *old, size_t size)
{
    if (mem_fault && mem_fault()) return NULL;
    return realloc(old, size ? size : 1);
}

const char *tide_job_state_name(enum tide_job_state s)
{
    static const char *const names[] = {"?",    "WAITING",   "RESTORING", "RUNNING",   "STOPPING",
                                        "HELD", "SUSPENDED", "FINISHED",  "CANCELLED", "FAILED"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

const char *tide_kind_name(enum tide_kind k)
{
    return k == TIDE_CHECKPOINT ? "checkpoint" : k == TIDE_SAVEPOINT ? "savepoint" : "?";
}

const char *tide_snapshot_state_name(enum tide_snapshot_state s)
{
    static const char *const names[] = {"?", "retained", "deleting", "deleted"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

const char *tide_operation_state_name(enum tide_operation_state s)
{
    static const char *const names[] = {"?", "queued", "running", "done", "failed"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

const char *tide_operation_kind_name(enum tide_operation_kind k)
{
    static const char *const names[] = {"?",       "checkpoint", "savepoint", "stop",
                                        "cancel",  "restore",    "dispose",   "hold",
                                        "release", "import",     "export"};
    return (unsigned)k < sizeof names / sizeof *names ? names[k] : "?";
}

const char *tide_style_name(enum tide_style s)
{
    return s == TIDE_FLOW ? "flow" : s == TIDE_RENDEZVOUS ? "rendezvous" : "?";
}

const char *tide_alignment_name(enum tide_alignment a)
{
    static const char *const names[] = {"aligned", "at least once", "unaligned",
                                        "aligned with timeout"};
    return (unsigned)a < sizeof names / sizeof *names ? names[a] : "?";
}

const char *tide_stop_name(enum tide_stop s)
{
    static const char *const names[] = {"no", "suspend", "drain"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

struct tide_commit *tide_commit_new(bool awaited)
{
    struct tide_commit *c = tide_mem_zalloc(1, sizeof *c);
    if (!c) return NULL;
    tide_arena_init(&c->arena, COMMIT_ARENA_MAX);
    c->awaited = awaited;
    return c;
}

void tide_commit_free(struct tide_commit *c)
{
    if (!c) return;
    for (uint32_t i = 0; i < c->n_chunks; i++)
        free((void *)(uintptr_t)c->chunks[i].data);
    free(c->chunks);
    tide_arena_release(&c->arena);
    free(c);
}

struct tide_record *tide_commit_add(struct tide_commit *c, enum tide_record_type type, tide_id job)
{
    if (c->rc) return NULL;
    struct tide_record *r = tide_arena_zalloc(&c->arena, sizeof *r);
    if (!r) {
        c->rc = TIDE_ENOMEM;
        return NULL;
    }
    r->type = type;
    r->job = job;
    if (c->last)
        c->last->next = r;
    else
        c->first = r;
    c->last = r;
    return r;
}

struct tide_bytes tide_commit_bytes(struct tide_commit *c, struct tide_bytes from)
{
    if (c->rc || from.len == 0) return (struct tide_bytes){0};
    uint8_t *copy = tide_arena_copy(&c->arena, from.data, from.len);
    if (!copy) {
        c->rc = TIDE_ENOMEM;
        return (struct tide_bytes){0};
    }
    return (struct tide_bytes){copy, from.len};
}

struct tide_bytes tide_commit_printf(struct tide_commit *c, const char *format, ...)
{
    va_list list, again;
    if (c->rc) return (struct tide_bytes){0};
    va_start(list, format);
    va_copy(again, list);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = n < 0 ? NULL : tide_arena_alloc(&c->arena, (size_t)n + 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    if (!text) {
        c->rc = TIDE_ENOMEM;
        return (struct tide_bytes){0};
    }
    return (struct tide_bytes){(const uint8_t *)text, (size_t)n};
}
