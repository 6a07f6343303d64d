/* Whether a job can be restored from a snapshot, operator by operator, as a table: what is told,
 * and whose state goes where. */
#include <stdio.h>

#include "daemon/core/internal.h"
#include "tests/core/lib_play.h"
#include "tests/core/lib_spec.h"

struct row {
    const char *what;
    /* The snapshot: its spec; of each task 's' that it has state, '.' that it has none, 'h' and 'H'
     * the same of one that held its end, 'x' that it had ended; 'o' that it has a list, 'k' the
     * state of its keys, 'b' both, 'B' the state of keys that are not the operator's, 'W' of all
     * its keys, 'f' records in flight, 'r' the same that say where they belong, 'm' a list of a
     * mebibyte; who has state besides. */
    const char *snapshot, *tasks, *externals;
    const char *job;
    const char *report; /* the first reason against it stands as the answer, too */
    const char *moves;  /* the job's number of each task, '-' for none; NULL: it is refused */
    bool unmatched, again, unaligned;
    uint32_t adopted_operator, adopted_max; /* the latter 0: nothing is adopted */
    const char *ended;                      /* tasks of the job that stay so; NULL: not asked */
    const char *dealt; /* what each task of the job gets: whose list or keys; NULL: not asked */
};

/* ---- the snapshot */

enum { MANY = 16, IMAGE_MAX = 32 << 20 };

static void put_named(struct tide_ack_builder *b, const struct tide_graph *g, uint32_t task,
                      char letter)
{
    static uint8_t mebibyte[1 << 20], packed[(1 << 20) + 4096];
    Tide__TaskAck ack;
    Tide__Artifact items[2], *list[2] = {&items[0], &items[1]};
    uint32_t subtask;
    const struct tide_operator *op = tide_graph_operator(g, task, &subtask);
    const char *name = strchr("kbBW", letter) ? "state.keyed" : "state.own";
    tide__task_ack__init(&ack);
    ack.task = task;
    ack.artifacts = list;
    for (int i = 0; i < 1 + (letter == 'b'); i++) {
        Tide__Artifact *a = list[ack.n_artifacts++];
        tide__artifact__init(a);
        a->size = 10;
        if (i) name = "state.own";
        if (letter == 'r') name = "state.flight";
        a->name = (ProtobufCBinaryData){strlen(name), (uint8_t *)(uintptr_t)name};
        if (strcmp(name, "state.keyed") == 0)
            tide_key_group_range(subtask, op->parallelism, op->max_parallelism, &a->key_group_first,
                                 &a->key_group_count);
        if (letter == 'B') a->key_group_count = op->max_parallelism + 1 - a->key_group_first;
        if (letter == 'W') a->key_group_count = op->max_parallelism;
        if (letter == 'f') a->flight = TIDE__FLIGHT__FLIGHT_INPUT;
        if (letter != 'm') continue;
        a->size = sizeof mebibyte;
        a->place_case = TIDE__ARTIFACT__PLACE_INLINE;
        a->inline_ = (ProtobufCBinaryData){sizeof mebibyte, mebibyte};
    }
    ck_assert_uint_le(tide__task_ack__get_packed_size(&ack), sizeof packed);
    size_t len = tide__task_ack__pack(&ack, packed);
    tide_ack_builder_add_full(b, (struct tide_bytes){packed, len});
}

static void put_acks(struct tide_buf *chunk, const char *spec, const char *tasks)
{
    struct tide_ack_builder b;
    struct tide_ack_file file = {10, 1, 2};
    struct tide_buf message;
    struct tide_graph *g = strpbrk(tasks, "okbBWfmr") ? spec_graph(spec) : NULL;
    uint32_t t = 0;
    tide_ack_builder_init(&b, IMAGE_MAX);
    for (; *tasks; tasks++) {
        if (*tasks == ' ') continue;
        if (strchr("okbBWfmr", *tasks))
            put_named(&b, g, t, *tasks);
        else if (*tasks != 'x')
            tide_ack_builder_add(&b, t, 1, 2, 3, &file, *tasks == 's' || *tasks == 'H');
        t++;
    }
    tide_buf_init(&message, IMAGE_MAX);
    tide_ack_builder_put(&b, 1, 7, &message);
    tide_buf_put_u32(chunk, (uint32_t)message.len);
    tide_buf_put(chunk, message.data, message.len);
    tide_buf_release(&message);
    tide_ack_builder_release(&b);
    tide_graph_free(g);
}

struct ranges {
    Tide__TaskRange items[MANY], *list[MANY];
    size_t n;
};

static void read_ranges(struct ranges *to, const char *tasks, const char *letters)
{
    uint32_t t = 0;
    to->n = 0;
    for (; *tasks; tasks++) {
        if (*tasks == ' ') continue;
        if (strchr(letters, *tasks)) {
            Tide__TaskRange *r = to->list[to->n] = &to->items[to->n];
            tide__task_range__init(r);
            r->first = t;
            r->count = 1;
            to->n++;
        }
        t++;
    }
}

struct parts {
    Tide__ExternalState items[4], *list[4];
    Tide__External names[4];
    size_t n;
};

static void read_parts(struct parts *to, const char *list)
{
    to->n = 0;
    while (list && *list) {
        size_t len = strcspn(list, " "), at = *list == '@';
        Tide__External *e = &to->names[to->n];
        tide__external__init(e);
        e->kind =
            at ? TIDE__EXTERNAL_KIND__EXTERNAL_COORDINATOR : TIDE__EXTERNAL_KIND__EXTERNAL_HOOK;
        e->name = (ProtobufCBinaryData){len - at, (uint8_t *)(uintptr_t)list + at};
        to->list[to->n] = &to->items[to->n];
        tide__external_state__init(to->list[to->n]);
        to->list[to->n++]->external = e;
        list += len + strspn(list + len, " ");
    }
}

static struct tide_buf image_of(const struct row *row)
{
    static uint8_t store[16] = {1};
    struct spec s;
    struct ranges ended, ending;
    struct parts parts;
    struct tide_buf chunk, image;
    Tide__ManifestHead head = TIDE__MANIFEST_HEAD__INIT;
    spec_read(&s, row->snapshot);
    read_ranges(&ended, row->tasks, "x");
    read_ranges(&ending, row->tasks, "hH");
    read_parts(&parts, row->externals);
    head.store_id = head.job_id = (ProtobufCBinaryData){16, store};
    head.spec = &s.spec;
    head.round = 7;
    head.incarnation = head.attempt = 1;
    head.kind = TIDE__ROUND_KIND__ROUND_CHECKPOINT;
    for (const char *at = row->tasks; *at; at++)
        head.tasks += *at != ' ';
    head.n_ended = ended.n;
    head.ended = ended.list;
    head.n_ending = ending.n;
    head.ending = ending.list;
    head.n_externals = parts.n;
    head.externals = parts.list;
    head.unaligned = row->unaligned;
    uint8_t packed[4096];
    ck_assert(tide__manifest_head__get_packed_size(&head) <= sizeof packed);
    size_t len = tide__manifest_head__pack(&head, packed);
    tide_buf_init(&chunk, IMAGE_MAX);
    put_acks(&chunk, row->snapshot, row->tasks);
    tide_buf_init(&image, IMAGE_MAX);
    tide_manifest_put(&image, (struct tide_bytes){packed, len},
                      &(struct tide_bytes){chunk.data, chunk.len}, 1);
    ck_assert_int_eq(image.rc, 0);
    tide_buf_release(&chunk);
    return image;
}

/* ---- each row */

#define ALL_OF_3                                                                                   \
    "a: restored: 1 tasks, 1 artifacts, 10 bytes\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n"   \
    "c: restored: 1 tasks, 1 artifacts, 10 bytes\n"
#define FLIGHT                                                                                     \
    "a: refused: records that were under way are kept as bytes of its channels, and the job's "    \
    "graph is another: only an aligned snapshot, or one with records that say where they belong, " \
    "can be restored\n"
#define LOST " would be lost unless unmatched state is allowed (--allow-unmatched)"
static const struct row rows[] = {
    {"S130: the same graph: all is restored", "a2 b1; a>b", "ss .", NULL, "a2 b1; a>b",
     "a: restored: 2 tasks, 2 artifacts, 20 bytes\nb: restored: it had no state\n",
     .moves = "0 1 2"},
    {"S142: operators are found by their uids, whatever the others are called", "b2 c1; b>c",
     "ss s", NULL, "a1 b2 c1; a>b b>c",
     "a: new: it starts without state\nb: restored: 2 tasks, 2 artifacts, 20 bytes\n"
     "c: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "1 2 3"},
    {"S140: an operator that is gone, whose state would be", "a1 b2", "s s.", NULL, "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: refused: the job has no such operator, and the state of 1 tasks" LOST "\n",
     .moves = NULL},
    {"S140: the same, allowed: it is left out", "a1 b2", "s s.", NULL, "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\nb: dropped: 1 tasks had 10 bytes of state\n",
     .moves = "0 - -", .unmatched = true},
    {"S140: it had none: nothing is lost", "a1 b2", "s ..", NULL, "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: skipped: the job has no such operator, and it had no state\n",
     .moves = "0 - -"},
    {"S140: state of its coordinator is state", "a1 b2@", "s ..", "@b", "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: refused: the job has no such operator, and the state of 0 tasks" LOST "\n",
     .moves = NULL},
    {"S140: and is dropped with the operator", "a1 b2@", "s ..", "@b", "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: dropped: 0 tasks had 0 bytes of state, and its coordinator had some\n",
     .moves = "0 - -", .unmatched = true},
    {"an operator whose coordinator is gone", "a1@", "s", "@a", "a1",
     "a: refused: it has no coordinator any more, whose state" LOST "\n", .moves = NULL},
    {"the same, allowed", "a1@", "s", "@a", "a1", "a: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "0", .unmatched = true},
    {"a coordinator alone has state, and is still there", "a1@", ".", "@a", "a1@",
     "a: restored: 1 tasks, 0 artifacts, 0 bytes\n", .moves = "0"},
    {"a coordinator that has come", "a1", "s", NULL, "a1@",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n", .moves = "0"},
    {"a hook that is gone, and its state", "a1; ; lock", "s", "lock", "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "lock: refused: the job has no such hook, and its state" LOST "\n",
     .moves = NULL},
    {"the same, allowed", "a1; ; lock", "s", "lock", "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\nlock: dropped: the job has no such hook\n",
     .moves = "0", .unmatched = true},
    {"a hook that is still there", "a1; ; lock", "s", "lock", "a1; ; feed lock",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n", .moves = "0"},
    {"S134: another max parallelism was chosen", "a2/16", "ss", NULL, "a2/32",
     "a: refused: the snapshot has max parallelism 16, the job 32\n", .moves = NULL},
    {"S134: nobody chose: the snapshot's holds", "a1 b2/16", "s ss", NULL, "a1 b2",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: restored: 2 tasks, 2 artifacts, 20 bytes, max parallelism 16 as there\n",
     .moves = "0 1 2", .adopted_operator = 1, .adopted_max = 16},
    {"S134: less than the tasks that there are", "a2/2", "ss", NULL, "a3",
     "a: refused: the snapshot has max parallelism 2, less than the parallelism 3\n",
     .moves = NULL},
    {"S161: another parallelism, of bytes that nobody knows how to divide", "a2 b1", "ss s", NULL,
     "a3 b1",
     "a: refused: the snapshot has parallelism 2, the job 3, and artifact '' of task 0 is without "
     "key groups: nobody knows how to divide it\n"
     "b: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = NULL},
    {"S161: out: keys go where their groups go, lists to all", "a2/8 b1", "bb s", NULL, "a3/8 b1",
     "a: restored: 3 tasks, 4 artifacts, 40 bytes, from 2 tasks, 2 by their key groups, 2 to all "
     "tasks\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "- - 3", .dealt = "0k 0o 1o|0k 0o 1k 1o|0o 1k 1o|2?"},
    {"S161: in", "a3/8 b1", "bkb s", NULL, "a2/8 b1",
     "a: restored: 2 tasks, 5 artifacts, 50 bytes, from 3 tasks, 3 by their key groups, 2 to all "
     "tasks\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "- - - 2", .dealt = "0k 0o 1k 2o|0o 1k 2k 2o|3?"},
    {"S161: to one, the max parallelism is the snapshot's", "a3/8", "kkk", NULL, "a1",
     "a: restored: 1 tasks, 3 artifacts, 30 bytes, from 3 tasks, 3 by their key groups, max "
     "parallelism 8 as there\n",
     .moves = "- - -", .dealt = "0k 1k 2k", .adopted_max = 8},
    {"S161: to as many as there are key groups", "a1/4", "k", NULL, "a4/4",
     "a: restored: 4 tasks, 1 artifacts, 10 bytes, from 1 tasks, 1 by their key groups\n",
     .moves = "-", .dealt = "0k|0k|0k|0k"},
    {"S161: one task has what cannot be divided", "a2/8", "bs", NULL, "a3/8",
     "a: refused: the snapshot has parallelism 2, the job 3, and artifact '' of task 1 is without "
     "key groups: nobody knows how to divide it\n",
     .moves = NULL},
    {"key groups that the operator has not", "a2/8", "kB", NULL, "a3/8",
     "a: refused: the snapshot has parallelism 2, the job 3, and artifact 'state.keyed' of task 1 "
     "has key groups that were not the task's\n",
     .moves = NULL},
    {"key groups of all tasks: cut by another number than the spec's, or told wrongly", "a2/8",
     "W.", NULL, "a3/8",
     "a: refused: the snapshot has parallelism 2, the job 3, and artifact 'state.keyed' of task 0 "
     "has key groups that were not the task's\n",
     .moves = NULL},
    {"the same, at the same parallelism: its task knows what it means", "a2/8", "W.", NULL, "a2/8",
     "a: restored: 2 tasks, 1 artifacts, 10 bytes\n", .moves = "0 1", .dealt = "0k|"},
    {"records in flight that the head does not tell of", "a2/8", "kf", NULL, "a3/8",
     "a: restored: 3 tasks, 2 artifacts, 20 bytes, from 2 tasks, 1 by their key groups\n" FLIGHT,
     .moves = NULL},
    {"records in flight that say where they belong, another parallelism: all tasks look at all",
     "a2/8 b1; a>b", "kr r", NULL, "a3/8 b1; a>b",
     "a: restored: 3 tasks, 2 artifacts, 20 bytes, from 2 tasks, 1 by their key groups, 1 to all "
     "tasks\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "- - 3", .unaligned = true, .dealt = "0k 1f|0k 1f|1f|2f"},
    {"the same parallelism in another graph: all look at all", "a2/8 b1; a>b", "kr r", NULL,
     "a2/8 b1; b>a",
     "a: restored: 2 tasks, 2 artifacts, 20 bytes, 1 to all tasks\n"
     "b: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "0 1 2", .unaligned = true, .dealt = "0k 1f|1f|2f"},
    {"the same graph: each takes its own", "a2/8 b1; a>b", "kr r", NULL, "a2/8 b1; a>b",
     "a: restored: 2 tasks, 2 artifacts, 20 bytes\n"
     "b: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "0 1 2", .unaligned = true, .dealt = "0k|1f|2f"},
    {"of an operator that is gone", "a1 b1; a>b", "s r", NULL, "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: refused: the job has no such operator, and the state of 1 tasks" LOST "\n",
     .moves = NULL, .unaligned = true},
    {"S157: a union at the same parallelism: all see all lists", "a2/8u", "bb", NULL, "a2/8u",
     "a: restored: 2 tasks, 4 artifacts, 40 bytes, 2 to all tasks\n", .moves = "0 1",
     .dealt = "0k 0o 1o|0o 1k 1o"},
    {"S157: it is enough that one of the two specs says so", "a2/8", "ob", NULL, "a2/8u",
     "a: restored: 2 tasks, 3 artifacts, 30 bytes, 2 to all tasks\n", .moves = "0 1",
     .dealt = "0o 1o|0o 1k 1o"},
    {"S157: bytes of a program's own stay with their task", "a2/8u", "so", NULL, "a2/8u",
     "a: restored: 2 tasks, 2 artifacts, 20 bytes, 1 to all tasks\n", .moves = "0 1",
     .dealt = "0? 1o|1o"},
    {"no union: everyone keeps their own", "a2/8", "bo", NULL, "a2/8",
     "a: restored: 2 tasks, 3 artifacts, 30 bytes\n", .moves = "0 1", .dealt = "0k 0o|1o"},
    {"a union of one task is its own", "a1/8u", "o", NULL, "a1/8u",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n", .moves = "0", .dealt = "0o"},
    {"more than a restore has room for", "a2/99", "mm", NULL, "a80/99",
     "a: refused: its tasks would have to be told 167786400 bytes of artifacts together, and a "
     "restore has room for 134217728: keep less inline, or use fewer tasks\n",
     .moves = NULL},
    {"S164: all had ended, one with bytes of its own", "a2/8 b1", "xH s", NULL, "a3/8 b1",
     "a: refused: the snapshot has parallelism 2, the job 3, and artifact '' of task 1 is without "
     "key groups: nobody knows how to divide it\n"
     "b: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = NULL},
    {"S164: all had ended: so have as many as there are", "a2/8 b1", "xh s", NULL, "a3/8 b1",
     "a: restored: 3 tasks, 0 artifacts, 0 bytes, from 2 tasks, 2 tasks had ended\n"
     "b: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "- - 3", .ended = "0 1 2"},
    {"S164: some had ended: nobody knows which of the others have", "a2/8 b1", "xk s", NULL,
     "a3/8 b1",
     "a: refused: the snapshot has parallelism 2, the job 3, and 1 of the former had ended: only "
     "all or none can have\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = NULL},
    {"another parallelism of what has no state", "a2/2 b1", ".. s", NULL, "a3 b1",
     "a: restored: it had no state\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "- - 3"},
    {"S164: what had ended stays so, and what held its end has ended", "a3 b1; a>b", "xhH s", NULL,
     "a3 b1; a>b",
     "a: restored: 3 tasks, 1 artifacts, 10 bytes, 3 tasks had ended\n"
     "b: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "0 1 2 3"},
    {"S152: work is put before an operator that has ended in part", "a1 b2; a>b", "x x.", NULL,
     "a1 b2 c1; a>b c>b",
     "a: restored: 1 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "b: restored: 2 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "c: new: it starts without state\n"
     "b: refused: it had ended in the snapshot, and 'c', which feeds it, had not\n",
     .moves = NULL},
    {"S152: along an edge that was there it had read all, though its feeder's end is not known yet",
     "a1 b1; a>b", ". x", NULL, "a1 b1; a>b",
     "a: restored: it had no state\n"
     "b: restored: 1 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n",
     .moves = "0 1"},
    {"S152: task by task: those before it have ended in part", "a2 b2", "x. xx", NULL, "a2 b2; a=b",
     "a: restored: 2 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "b: restored: 2 tasks, 0 artifacts, 0 bytes, 2 tasks had ended\n"
     "b: refused: it had ended in the snapshot, and 'a', which feeds it, had not\n",
     .moves = NULL},
    {"S152: task by task: whoever has ended comes behind one that has", "a2 b2", "xx x.", NULL,
     "a2 b2; a=b",
     "a: restored: 2 tasks, 0 artifacts, 0 bytes, 2 tasks had ended\n"
     "b: restored: 2 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n",
     .moves = "0 1 2 3"},
    {"S152: not when it was decided before: an attempt restores what the order let", "a1 b2; a>b",
     "x x.", NULL, "a1 b2 c1; a>b c>b",
     "a: restored: 1 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "b: restored: 2 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "c: new: it starts without state\n",
     .moves = "0 1 2", .again = true},
    {"nobody is left", "a1 b1; a>b", "h x", NULL, "a1 b1; a>b",
     "a: restored: 1 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "b: restored: 1 tasks, 0 artifacts, 0 bytes, 1 tasks had ended\n"
     "a: refused: every task of the job had ended in the snapshot: there is nothing to go on "
     "with\n",
     .moves = NULL},
    {"records in flight, the same graph", "a2 b1; a>b", "ss s", NULL, "a2 b1; a>b",
     "a: restored: 2 tasks, 2 artifacts, 20 bytes\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n",
     .moves = "0 1 2", .unaligned = true},
    {"records in flight, another channel", "a2 b2; a>b", "sf ss", NULL, "a2 b2; a=b",
     "a: restored: 2 tasks, 2 artifacts, 20 bytes\nb: restored: 2 tasks, 2 artifacts, 20 "
     "bytes\n" FLIGHT,
     .moves = NULL, .unaligned = true},
    {"records in flight, another operator", "a1 b1; a>b", "f s", NULL, "a1 b1 c1; a>b",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\nb: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "c: new: it starts without state\n" FLIGHT,
     .moves = NULL, .unaligned = true},
    {"records in flight, one more channel", "a1 b1 c1; a>b", "f s s", NULL, "a1 b1 c1; a>b b>c",
     ALL_OF_3 FLIGHT, .moves = NULL, .unaligned = true},
    {"records in flight, a channel to another", "a1 b1 c1; a>b", "f f s", NULL, "a1 b1 c1; a>c",
     ALL_OF_3 FLIGHT, .moves = NULL, .unaligned = true},
    {"records in flight, a channel from another", "a1 b1 c1; a>c", "f s s", NULL, "a1 b1 c1; b>c",
     ALL_OF_3 FLIGHT, .moves = NULL, .unaligned = true},
    {"records in flight, another name", "a1 b1; a>b", "f .", NULL, "a1 c1; a>c",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n"
     "b: skipped: the job has no such operator, and it had no state\n"
     "c: new: it starts without state\n" FLIGHT,
     .moves = NULL, .unaligned = true},
    {"records in flight, another parallelism", "a1 b2; a>b", "f ..", NULL, "a1 b3; a>b",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\nb: restored: it had no state\n" FLIGHT,
     .moves = NULL, .unaligned = true},
    {"an unaligned round in which no record was in flight, another parallelism", "a1 b2; a>b",
     "s ..", NULL, "a1 b3; a>b",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\nb: restored: it had no state\n",
     .moves = "0 - -", .unaligned = true},
    {"records in flight that the head does not tell of, to an operator of another parallelism",
     "a1 b2; a>b", "f ..", NULL, "a1 b3; a>b",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\nb: restored: it had no state\n" FLIGHT,
     .moves = NULL},
    {"the same that say where they belong: all look at all", "a2/8 b2; a>b", "r. ..", NULL,
     "a2/8 b3; a>b",
     "a: restored: 2 tasks, 1 artifacts, 10 bytes, 1 to all tasks\nb: restored: it had no state\n",
     .moves = "0 1 - -", .dealt = "0f|0f|||"},
    {"two reasons: the first is the answer, both are told", "a2/16 b1", "ss s", NULL, "a2/32",
     "a: refused: the snapshot has max parallelism 16, the job 32\n"
     "b: refused: the job has no such operator, and the state of 1 tasks" LOST "\n",
     .moves = NULL},
    {"a coordinator of nobody in the snapshot's own graph", "a1", "s", "@z", "a1",
     "a: restored: 1 tasks, 1 artifacts, 10 bytes\n", .moves = "0"},
};

static void expect_why(const struct row *row, const char *why)
{
    char first[300];
    const char *at = strstr(row->report, ": refused: "), *line = at;
    while (line > row->report && line[-1] != '\n')
        line--;
    const char *text = at + strlen(": refused: ");
    snprintf(first, sizeof first, "operator '%.*s': %.*s", (int)(at - line), line,
             (int)strcspn(text, "\n"), text);
    ck_assert_msg(strcmp(first, why) == 0, "%s: %s", row->what, why);
}

static void expect_moves(const struct row *row, struct match *m)
{
    for (int backwards = 0; backwards < 2; backwards++) {
        const char *at = row->moves;
        uint32_t n = 0, want[MANY];
        for (char *end; *at; at = end + (*end == ' ')) {
            end = (char *)(uintptr_t)at + 1;
            want[n++] = *at == '-' ? TIDE_NONE : (uint32_t)strtoul(at, &end, 10);
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t t = backwards ? n - 1 - i : i;
            ck_assert_msg(match_task(m, t) == want[t], "%s: task %u", row->what, t);
        }
    }
}

/* In the order of the snapshot's tasks, those acks last that have all columns. */
static void expect_dealt(const struct row *row, const struct tide_manifest *m, struct match *match,
                         const struct tide_graph *job)
{
    char text[256] = "";
    for (uint32_t t = 0; t < job->tasks; t++) {
        struct tide_manifest_walk walk = {0};
        struct tide_ack_view ack;
        bool any = false;
        if (t) strcat(text, "|");
        while (tide_manifest_next(m, &walk, &ack)) {
            struct tide_artifact_place place = {0};
            struct tide_artifact_view a;
            while (tide_acks_artifact(&ack, &place, &a)) {
                uint32_t first, n = match_artifact(match, ack.task, &a, &first);
                if (t < first || t - first >= n) continue;
                size_t len = strlen(text);
                snprintf(text + len, sizeof text - len, "%s%u%c", any ? " " : "", ack.task,
                         a.name.len ? a.name.data[6] : '?');
                any = true;
            }
        }
    }
    ck_assert_msg(strcmp(text, row->dealt) == 0, "%s: %s", row->what, text);
}

static void expect_ended(const struct row *row, const struct tide_manifest *m, struct match *match,
                         const struct tide_graph *job)
{
    char text[256] = "";
    struct bits ended;
    bits_init(&ended, job->tasks);
    match_ended(match, m->head, &ended);
    for (uint32_t t = 0; t < job->tasks; t++)
        if (bits_get(&ended, t)) snprintf(text + strlen(text), 16, "%s%u", *text ? " " : "", t);
    ck_assert_msg(strcmp(text, row->ended) == 0, "%s: %s", row->what, text);
    bits_release(&ended);
}

/* S130, S134, S140, S142, S152, S157, S161, S164: a row each, or more. */
START_TEST(each_row)
{
    const struct row *row = &rows[_i];
    struct tide_buf image = image_of(row), report;
    struct tide_manifest m;
    struct match match;
    struct match_wish wish = {.unmatched = row->unmatched, .again = row->again, .report = &report};
    char why[256] = "";
    struct tide_graph *job = spec_graph(row->job);
    ck_assert_msg(!tide_manifest_open(&m, (struct tide_bytes){image.data, image.len}, why), "%s",
                  why);
    tide_buf_init(&report, 8192);
    int rc = match_new(&match, job, &m, &wish, why);
    tide_buf_put_u8(&report, '\0');
    ck_assert_msg(strcmp((char *)report.data, row->report) == 0, "%s:\n%s", row->what,
                  (char *)report.data);
    if (!row->moves) {
        ck_assert_msg(rc == TIDE_EINVAL, "%s: %d", row->what, rc);
        expect_why(row, why);
    } else {
        ck_assert_msg(rc == 0, "%s: %s", row->what, why);
        expect_moves(row, &match);
        if (row->dealt) expect_dealt(row, &m, &match, job);
        if (row->ended) expect_ended(row, &m, &match, job);
        ck_assert_msg(match.adopted.len == (row->adopted_max ? 8 : 0), "%s", row->what);
        if (row->adopted_max) {
            ck_assert_uint_eq(tide_get_u32(match.adopted.data), row->adopted_operator);
            ck_assert_uint_eq(tide_get_u32(match.adopted.data + 4), row->adopted_max);
        }
        match_release(&match);
        wish.report = NULL; /* a restore wants none, and decides the same */
        ck_assert_int_eq(match_new(&match, job, &m, &wish, why), 0);
        expect_moves(row, &match);
        match_release(&match);
    }
    tide_manifest_close(&m);
    tide_graph_free(job);
    tide_buf_release(&image);
    tide_buf_release(&report);
}
END_TEST

/* S154: whatever the parallelisms, a task gets the artifacts that have key groups of its own, all
 * of them, and no other. */
START_TEST(keys_go_where_they_belong)
{
    uint64_t random = 1;
    for (int layout = 0; layout < 10000; layout++) {
        uint32_t draw[3];
        for (int i = 0; i < 3; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            draw[i] = (uint32_t)(random >> 33);
        }
        uint32_t max = 1 + draw[0] % 60, had = 1 + draw[1] % max, has = 1 + draw[2] % max;
        struct match_run run = {5, had, 7, MATCH_DIVIDED, has, max};
        struct match m = {.runs = &run, .n_runs = 1, .divides = true};
        for (uint32_t from = 0; from < had; from++) {
            struct tide_artifact_view a = {.size = 1};
            uint32_t first, n;
            tide_key_group_range(from, had, max, &a.key_group_first, &a.key_group_count);
            n = match_artifact(&m, 5 + from, &a, &first);
            for (uint32_t to = 0; to < has; to++) {
                uint32_t own, count;
                tide_key_group_range(to, has, max, &own, &count);
                bool meets =
                    own < a.key_group_first + a.key_group_count && a.key_group_first < own + count;
                ck_assert_msg(meets == (7 + to >= first && 7 + to - first < n),
                              "%u of %u to %u of %u, %u key groups", from, had, to, has, max);
            }
        }
    }
}
END_TEST

/* What the manifest says of its own graph is no graph, or not that of its tasks. */
START_TEST(its_own_graph_is_none)
{
    static const struct {
        const char *snapshot, *tasks, *why;
    } each[] = {
        {"a2 b1; a>c", "ss s",
         "the snapshot's own spec is refused: the edge from 'a' to 'c': there is no operator 'c'"},
        {"a2 b1; a>b", "ss", "the snapshot's manifest speaks of 2 tasks, its spec of 3"},
    };
    struct tide_graph *job = spec_graph("a2 b1; a>b");
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct row row = {.snapshot = each[i].snapshot, .tasks = each[i].tasks};
        struct tide_buf image = image_of(&row);
        struct tide_manifest m;
        struct match match;
        struct match_wish wish = {0};
        char why[256] = "";
        ck_assert_int_eq(tide_manifest_open(&m, (struct tide_bytes){image.data, image.len}, why),
                         0);
        ck_assert_int_eq(match_new(&match, job, &m, &wish, why), TIDE_ECORRUPT);
        ck_assert_str_eq(why, each[i].why);
        Tide__JobSpec *spec = m.head->spec;
        m.head->spec = NULL;
        ck_assert_int_eq(match_new(&match, job, &m, &wish, why), TIDE_ECORRUPT);
        ck_assert_str_eq(why, "the snapshot's own spec is refused: there is none");
        m.head->spec = spec;
        tide_manifest_close(&m);
        tide_buf_release(&image);
    }
    tide_graph_free(job);
}
END_TEST

ROWS_MAIN("match", each_row, sizeof rows / sizeof *rows, keys_go_where_they_belong,
          its_own_graph_is_none)
