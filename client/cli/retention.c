/* `retention`: why each of a job's snapshots is still there. The daemon's own rule, asked once more
 * (storage/retention.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "proto/graph_show.h"
#include "storage/retention.h"

#define PAGE 1000u

/* All that a job has, the newest first. */
struct stock {
    Tide__SnapshotInfo **all; /* copies */
    size_t n;
};

static void forget(struct stock *s)
{
    for (size_t i = 0; i < s->n; i++)
        tide__snapshot_info__free_unpacked(s->all[i], NULL);
    free(s->all);
}

static Tide__SnapshotInfo *copy(const Tide__SnapshotInfo *s)
{
    size_t len = tide__snapshot_info__get_packed_size(s);
    uint8_t *packed = malloc(len + 1);
    Tide__SnapshotInfo *to = NULL;
    if (packed) {
        tide__snapshot_info__pack(s, packed);
        to = tide__snapshot_info__unpack(NULL, len, packed);
    }
    free(packed);
    return to;
}

static int take_page(struct cli *c, const Tide__SnapshotList *page, struct stock *s)
{
    Tide__SnapshotInfo **grown = realloc(s->all, (s->n + page->n_snapshots + 1) * sizeof *grown);
    if (!grown) return cli_fail(c, "memory", "out of memory");
    s->all = grown;
    for (size_t i = 0; i < page->n_snapshots; i++) {
        if (!cli_is(page->snapshots[i]->state, "retained")) continue;
        s->all[s->n] = copy(page->snapshots[i]);
        if (!s->all[s->n]) return cli_fail(c, "memory", "out of memory");
        s->n++;
    }
    return DONE;
}

static int take_all(struct cli *c, struct stock *s)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ListSnapshots call = TIDE__LIST_SNAPSHOTS__INIT;
    const Tide__Response *answer;
    bool more = true;
    request.call_case = TIDE__REQUEST__CALL_SNAPSHOTS;
    request.snapshots = &call;
    call.job = cli_data(c->args[0]);
    call.limit = PAGE;
    while (more) {
        int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_SNAPSHOTS, &answer);
        if (!rc) rc = take_page(c, answer->snapshots, s);
        if (rc) return rc;
        const Tide__SnapshotList *page = answer->snapshots;
        uint64_t last = page->n_snapshots ? page->snapshots[page->n_snapshots - 1]->snapshot : 0;
        more = page->more && last && (!call.before || last < call.before);
        call.before = last;
    }
    return DONE;
}

static int policy_of(struct cli *c, struct tide_retention *ret)
{
    Tide__Request request = TIDE__REQUEST__INIT;
    Tide__ShowJob call = TIDE__SHOW_JOB__INIT;
    const Tide__Response *answer;
    Tide__Checkpointing all;
    char why[256];
    call.job = cli_data(c->args[0]);
    request.call_case = TIDE__REQUEST__CALL_SHOW_JOB;
    request.show_job = &call;
    int rc = cli_ask(c, &request, TIDE__RESPONSE__RESULT_JOB, &answer);
    if (rc) return rc;
    const Tide__JobSpec *spec = answer->job->spec;
    if (tide_checkpointing_fill(spec ? spec->checkpointing : NULL, &all, why))
        return cli_fail(c, "protocol", "the job's configuration: %s", why);
    *ret = tide_retention_of(&all);
    return DONE;
}

static bool is_the_systems(const Tide__SnapshotInfo *s)
{
    return s->kind == TIDE__ROUND_KIND__ROUND_CHECKPOINT && !s->imported;
}

/* The checkpoints among them, ascending; malloc'ed, NULL: no memory. */
static struct tide_kept *judge(const struct stock *s, const struct tide_retention *policy,
                               size_t *ret_n)
{
    struct tide_kept *k = calloc(s->n + 1, sizeof *k);
    struct timespec now;
    size_t n = 0;
    if (!k) return NULL;
    for (size_t i = s->n; i-- > 0;)
        if (is_the_systems(s->all[i]))
            k[n++] = (struct tide_kept){.snapshot = s->all[i]->snapshot,
                                        .completed_wall = s->all[i]->completed_wall_us,
                                        .bytes = s->all[i]->bytes,
                                        .owed = s->all[i]->owed > 0};
    clock_gettime(CLOCK_REALTIME, &now);
    tide_retention_judge(policy, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, k,
                         n);
    *ret_n = n;
    return k;
}

static const struct {
    unsigned why;
    const char *word, *text;
} reasons[] = {{TIDE_STAYS_NEWEST, "newest", "the newest"},
               {TIDE_STAYS_OWED, "owed", "commits are owed from it"},
               {TIDE_STAYS_LEAST, "least", "of the least number"},
               {TIDE_STAYS_LATEST, "latest", "of the latest"},
               {TIDE_STAYS_HOUR, "hour", "last of its hour"},
               {TIDE_STAYS_DAY, "day", "last of its day"},
               {TIDE_STAYS_WEEK, "week", "last of its week"},
               {TIDE_GOES_AGE, "age", "too old"},
               {TIDE_GOES_BYTES, "bytes", "too many bytes"}};
#define N_REASONS (sizeof reasons / sizeof *reasons)

static void words(unsigned why, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_REASONS && at < size; i++)
        if (why & reasons[i].why) {
            int n = snprintf(out + at, size - at, "%s%s", at ? ", " : "", reasons[i].text);
            at += n > 0 ? (size_t)n : 0;
        }
}

static void row(struct table *t, const Tide__SnapshotInfo *s, const struct tide_kept *k)
{
    char text[TEXT_MAX], why[256] = "yours: never deleted by the system";
    bool stays = !k || k->stays;
    table_put_u64(t, s->snapshot);
    table_put(t, show_kind(s->kind));
    show_time(text, s->completed_wall_us);
    table_put(t, text);
    table_put(t, text_size(text, s->bytes));
    table_put(t, stays ? "stays" : "goes");
    if (k) words(k->why, why, sizeof why);
    table_put(t, *why ? why : "nothing wants it");
}

static void member(struct json *j, const Tide__SnapshotInfo *s, const struct tide_kept *k)
{
    json_object(j, NULL);
    json_u64(j, "snapshot", s->snapshot);
    json_text(j, "kind", show_kind(s->kind));
    json_u64(j, "completed_wall_us", s->completed_wall_us);
    json_u64(j, "bytes", s->bytes);
    json_bool(j, "stays", !k || k->stays);
    json_array(j, "why");
    for (size_t i = 0; k && i < N_REASONS; i++)
        if (k->why & reasons[i].why) json_text(j, NULL, reasons[i].word);
    if (!k) json_text(j, NULL, "user");
    json_end_array(j);
    json_end_object(j);
}

static int answer_json(struct cli *c, const struct stock *s, const struct tide_kept *k, size_t n)
{
    struct json j;
    json_init(&j);
    json_array(&j, "retention");
    for (size_t i = 0; i < s->n; i++)
        member(&j, s->all[i], is_the_systems(s->all[i]) ? &k[--n] : NULL);
    json_end_array(&j);
    return cli_answer(c, &j);
}

static void answer_text(const struct stock *s, const struct tide_kept *k, size_t n)
{
    static char completed[TEXT_MAX];
    const char *titles[] = {"SNAPSHOT", "KIND", "COMPLETED", "SIZE", "NEXT", "WHY"};
    static const unsigned char columns[] = {TABLE_RIGHT, TABLE_LEFT, TABLE_LEFT,
                                            TABLE_RIGHT, TABLE_LEFT, TABLE_WIDE};
    struct table t;
    bool going = false;
    titles[2] = show_zoned(completed, "COMPLETED");
    table_init(&t, sizeof titles / sizeof *titles, titles, columns);
    for (size_t i = 0; i < s->n; i++) {
        const struct tide_kept *mine = is_the_systems(s->all[i]) ? &k[--n] : NULL;
        going = going || (mine && !mine->stays);
        row(&t, s->all[i], mine);
    }
    show_print(&t);
    if (going) cli_note("what goes is deleted when the next checkpoint completes");
}

int retention_explain(struct cli *c)
{
    struct tide_retention policy;
    struct stock stock = {0};
    size_t n = 0;
    int rc = policy_of(c, &policy);
    if (!rc) rc = take_all(c, &stock);
    struct tide_kept *kept = rc ? NULL : judge(&stock, &policy, &n);
    if (!rc && !kept)
        rc = cli_fail(c, "memory", "out of memory");
    else if (!rc && c->options.json)
        rc = answer_json(c, &stock, kept, n);
    else if (!rc && stock.n)
        answer_text(&stock, kept, n);
    else if (!rc)
        cli_note("no snapshots");
    free(kept);
    forget(&stock);
    return rc;
}
