/* Snapshots of which the store knows nothing: taken by another daemon, moved, or copied.
 *
 * The usual way: a lane reads the directory's _metadata and sees that all files are there; what it
 * answers is kept here until the job may go on from it (choice.c), or is born with it (job.c); then
 * one commit makes it a snapshot of the job, under a number of this store. It is its user's: the
 * bytes stay where they are, nobody here deletes them, and whoever reads it resolves its paths
 * below the directory in which it lies now, whatever its manifest says of where it was written.
 *
 * What can go wrong: what lies there is no snapshot, or not whole, or is moved once more before it
 * is restored. Nothing is done by half: it is known with all that a restore needs, or not at all.
 */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "proto/graph_show.h"

struct import {
    uint64_t id; /* once it has one */
    char *directory;
    uint8_t *image;
    size_t image_len;
    uint64_t of_round, begun_wall, bytes, artifacts, shared, parent;
    tide_id of_store, of_job;
    enum tide_kind kind;
    enum tide_style style;
    bool unaligned;
    uint32_t tasks;
    struct tide_bytes ended; /* of the job's tasks, as in the record */
    char label[256];
    char words[400]; /* what it is, for people */
};

void import_free(struct import *im)
{
    if (!im) return;
    free((void *)(uintptr_t)im->ended.data);
    free(im->directory);
    free(im->image);
    free(im);
}

char *import_path(struct tide_bytes directory)
{
    while (directory.len > 1 && directory.data[directory.len - 1] == '/')
        directory.len--;
    return core_text(directory);
}

/* ---- what it is */

static void count(struct import *im, const struct tide_manifest *m)
{
    struct tide_manifest_walk walk = {0};
    struct tide_ack_view ack;
    while (tide_manifest_next(m, &walk, &ack)) {
        struct tide_artifact_place place = {0};
        struct tide_artifact_view view;
        im->artifacts += ack.artifacts;
        while (tide_acks_artifact(&ack, &place, &view))
            im->bytes += view.size, im->shared += view.shared != 0;
    }
}

static tide_id id_of(ProtobufCBinaryData from)
{
    tide_id id = {{0}};
    if (from.len == sizeof id.b) memcpy(id.b, from.data, sizeof id.b);
    return id;
}

static void describe(struct import *im, const Tide__ManifestHead *head)
{
    struct tide_bytes label = UNPB(head->label);
    im->of_round = head->round;
    im->begun_wall = head->begun_wall_us;
    im->of_store = id_of(head->store_id);
    im->of_job = id_of(head->job_id);
    im->kind = (enum tide_kind)head->kind;
    im->style = head->style == TIDE__ROUND_STYLE__STYLE_RENDEZVOUS ? TIDE_RENDEZVOUS : TIDE_FLOW;
    im->unaligned = head->unaligned;
    im->tasks = head->tasks;
    if (label.len && label.len < sizeof im->label && tide_text_valid(label))
        memcpy(im->label, label.data, label.len);
    snprintf(im->words, sizeof im->words, "%s %" PRIu64 " of %s", tide_kind_name(im->kind),
             im->of_round, head->spec ? tide_show(UNPB(head->spec->name)).text : "a job");
}

/* What the manifest says that the store would not take. */
static bool is_odd(const Tide__ManifestHead *head)
{
    return (head->kind != TIDE__ROUND_KIND__ROUND_CHECKPOINT &&
            head->kind != TIDE__ROUND_KIND__ROUND_SAVEPOINT) ||
           head->round == 0 || head->begun_wall_us > INT64_MAX;
}

struct import *import_new(const char *directory, const struct event *ev, char why[static 300])
{
    struct tide_manifest m;
    char text[256];
    if (ev->rc) {
        snprintf(why, 300, "%s", ev->text);
        return NULL;
    }
    struct import *im = core_alloc(sizeof *im);
    im->directory = core_printf("%s", ev->place ? ev->place : directory);
    im->image = core_alloc(ev->bytes.len);
    im->image_len = ev->bytes.len;
    if (ev->bytes.len) memcpy(im->image, ev->bytes.data, ev->bytes.len);
    int rc = tide_manifest_open(&m, import_image(im), text);
    if (!rc) {
        if (is_odd(m.head)) {
            rc = TIDE_ECORRUPT;
            snprintf(text, sizeof text, "its kind, number or time is none");
        } else {
            describe(im, m.head);
            count(im, &m);
        }
        tide_manifest_close(&m);
    }
    if (!rc) return im;
    snprintf(why, 300, "%.120s/_metadata: %.150s", directory, text);
    import_free(im);
    return NULL;
}

struct tide_bytes import_image(const struct import *im)
{
    return (struct tide_bytes){im->image, im->image_len};
}

const char *import_words(const struct import *im)
{
    return im->words;
}

const char *import_directory(const struct import *im)
{
    return im->directory;
}

static bool is_same(tide_id a, tide_id b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

uint64_t import_own_round(const struct core *c, const struct job *job, const struct import *im)
{
    return is_same(im->of_store, c->store_id) && is_same(im->of_job, job->id) ? im->of_round : 0;
}

uint64_t import_origin(const struct core *c, const struct job *job, struct tide_bytes image)
{
    struct tide_manifest m;
    char why[256];
    uint64_t round = 0;
    if (tide_manifest_open(&m, image, why)) return 0;
    if (is_same(id_of(m.head->store_id), c->store_id) && is_same(id_of(m.head->job_id), job->id))
        round = m.head->round;
    tide_manifest_close(&m);
    return round;
}

/* Tasks of the job that stay ended when it is restored. */
void import_keep_ended(struct import *im, const struct job *job, const struct tide_manifest *m,
                       struct match *match)
{
    struct bits ended;
    struct tide_buf out;
    uint32_t at = 0, first, n;
    bits_init(&ended, job->graph->tasks);
    match_ended(match, m->head, &ended);
    tide_buf_init(&out, (size_t)ended.size * 8 + 8);
    while (bits_run(&ended, &at, &first, &n)) {
        tide_buf_put_u32(&out, first);
        tide_buf_put_u32(&out, n);
    }
    core_assert(out.rc == 0);
    free((void *)(uintptr_t)im->ended.data);
    im->ended = core_copy((struct tide_bytes){out.data, out.len});
    tide_buf_release(&out);
    bits_release(&ended);
}

/* ---- becoming a snapshot */

/* Whole entries, as rounds have them. */
static void cut_chunks(struct tide_commit *commit, struct tide_bytes acks)
{
    size_t cap = 0, from = 0;
    for (size_t at = 0; at < acks.len;) {
        at += 4 + (size_t)tide_get_u32(acks.data + at);
        if (at < acks.len && at - from < CHUNK_MAX) continue;
        commit->chunks = core_grow(commit->chunks, commit->n_chunks, &cap, sizeof *commit->chunks);
        commit->chunks[commit->n_chunks++] =
            core_copy((struct tide_bytes){acks.data + from, at - from});
        from = at;
    }
}

bool import_record(struct core *c, struct tide_commit *commit, struct job *job, struct import *im,
                   struct tide_bytes label)
{
    im->id = core_new_id(c);
    if (!im->id) return false;
    const struct snapshot *from = job_snapshot(job, import_own_round(c, job, im));
    struct tide_record *r = tide_commit_add(commit, TIDE_REC_SNAPSHOT, job->id);
    core_assert(r != NULL && !commit->chunks);
    im->parent = from ? from->round : 0;
    /* it was opened: the lengths hold */
    uint32_t head_len = tide_get_u32(im->image + 12);
    cut_chunks(commit, (struct tide_bytes){im->image + 16 + head_len + 8,
                                           im->image_len - 16 - head_len - 8 - 16});
    r->snapshot.round = im->id;
    r->snapshot.incarnation = c->incarnation;
    r->snapshot.parent = im->parent;
    r->snapshot.kind = im->kind;
    r->snapshot.style = im->style;
    r->snapshot.unaligned = im->unaligned;
    r->snapshot.imported = true;
    r->snapshot.directory = tide_commit_bytes(commit, VIEW(im->directory));
    r->snapshot.label = tide_commit_bytes(commit, label.len ? label : VIEW(im->label));
    r->snapshot.begun_wall = im->begun_wall;
    r->snapshot.completed_wall = c->wall;
    r->snapshot.bytes = im->bytes;
    r->snapshot.artifacts = im->artifacts;
    r->snapshot.shared = im->shared;
    r->snapshot.tasks = im->tasks;
    r->snapshot.ended = tide_commit_bytes(commit, im->ended);
    r->snapshot.head = tide_commit_bytes(commit, (struct tide_bytes){im->image + 16, head_len});
    r->snapshot.chunks = commit->chunks;
    r->snapshot.n_chunks = commit->n_chunks;
    core_assert(commit->rc == 0);
    return true;
}

uint64_t import_id(const struct import *im)
{
    return im->id;
}

void import_add(struct core *c, struct job *job, const struct import *im)
{
    struct snapshot *s = core_alloc(sizeof *s), **at = &job->snapshots;
    *s = (struct snapshot){.round = im->id,
                           .incarnation = c->incarnation,
                           .parent = im->parent,
                           .completed_wall = c->wall,
                           .bytes = im->bytes,
                           .shared = im->shared,
                           .kind = im->kind,
                           .state = TIDE_RETAINED,
                           .imported = true,
                           .directory = core_printf("%s", im->directory),
                           .ended = core_copy(im->ended)};
    while (*at && (*at)->round < s->round)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
}

/* ---- what follows from it */

/* Flink's "force full": until a checkpoint of the job's own is complete, none may lean on what is
 * its user's. Savepoints lean on nothing in any case, and do not count. */
bool import_wants_full(const struct job *job)
{
    const struct snapshot *base = job_snapshot(job, job->base.snapshot);
    if (!job->base.snapshot || (base && !base->imported) || PLANTED(NOT_FULL)) return false;
    if (job->subsumed > job->base.since) return false;
    for (const struct snapshot *s = job->snapshots; s; s = s->next)
        if (s->kind == TIDE_CHECKPOINT && !s->imported && s->round > job->base.since) return false;
    return true;
}

/* The directory is what a job is about to begin from, or an order is about to make known. */
static bool is_coming(const struct job *job, const char *directory)
{
    const struct import *im = job->birth ? job->birth : choice_import(job);
    return im && strcmp(im->directory, directory) == 0;
}

const struct job *import_user(const struct core *c, const struct snapshot *of)
{
    for (const struct job *job = c->jobs; job; job = job->next) {
        if (is_coming(job, of->directory)) return job;
        if (tide_job_ended(job->state) && job->state != TIDE_JOB_SUSPENDED) continue;
        for (const struct snapshot *s = job->snapshots; s; s = s->next)
            if (s != of && s->imported && s->state == TIDE_RETAINED &&
                strcmp(s->directory, of->directory) == 0)
                return job;
    }
    return NULL;
}

bool import_goes(const struct core *c, const struct import *im)
{
    for (const struct job *job = c->jobs; job; job = job->next)
        for (const struct snapshot *s = job->snapshots; s; s = s->next)
            if (!s->imported && (s->disposing || s->state != TIDE_RETAINED) &&
                strcmp(s->directory, im->directory) == 0)
                return true;
    return false;
}
