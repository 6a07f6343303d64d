/* The dataflow of counters that the workers run, and the outside world of its sinks.
 *
 * Sources put out numbered records; whoever has an output passes each record on to one of them;
 * sinks collect. A task's state is what it has sent and received per channel, and, of sinks, every
 * record seen. With each snapshot a sink pre-commits a part (the records since its last one) in the
 * outside world, names all parts it has pending in its commit handle, and publishes them on
 * complete. */
#include "tests/sim/sim.h"

/* ---- the plan: a small random graph, numbered as the daemon numbers it */

static void plan_tasks(struct flow *f)
{
    uint32_t first[OPS_MAX] = {0};
    bool fed[OPS_MAX] = {false}, feeds[OPS_MAX] = {false};
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++)
            if (f->edge[a][b]) fed[b] = feeds[a] = true;
    /* by uid, bytewise */
    for (uint32_t left = f->n_ops, done = 0; left; left--) {
        uint32_t next = OPS_MAX;
        for (uint32_t o = 0; o < f->n_ops; o++)
            if (!(done >> o & 1) && (next == OPS_MAX || strcmp(f->uid[o], f->uid[next]) < 0))
                next = o;
        done |= 1u << next;
        first[next] = f->tasks;
        for (uint32_t i = 0; i < f->parallelism[next]; i++) {
            struct flow_task *t = &f->task[f->tasks++];
            *t = (struct flow_task){
                .op = next, .subtask = i, .source = !fed[next], .sink = !feeds[next]};
            if (t->source) t->source_number = f->sources++;
        }
    }
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++)
            for (uint32_t i = 0; f->edge[a][b] && i < f->parallelism[a]; i++)
                for (uint32_t j = 0; j < f->parallelism[b]; j++) {
                    if (f->pointwise[a][b] && i != j) continue;
                    struct flow_task *from = &f->task[first[a] + i], *to = &f->task[first[b] + j];
                    uint32_t c = f->channels++;
                    f->channel[c] = (struct flow_channel){.from = first[a] + i,
                                                          .to = first[b] + j,
                                                          .input = to->n_in,
                                                          .output = from->n_out};
                    from->out[from->n_out++] = c;
                    to->in[to->n_in++] = c;
                }
}

/* How tasks wait for barriers; plan_spec() draws the rest. */
static void plan_alignment(struct sim *s, Tide__Checkpointing *c)
{
    uint64_t kind = below(s, 100);
    c->alignment = kind < 35   ? TIDE__ALIGNMENT__ALIGN_ALIGNED
                   : kind < 60 ? TIDE__ALIGNMENT__ALIGN_UNALIGNED
                   : kind < 85 ? TIDE__ALIGNMENT__ALIGN_TIMEOUT
                               : TIDE__ALIGNMENT__ALIGN_AT_LEAST_ONCE;
    if (c->alignment != TIDE__ALIGNMENT__ALIGN_TIMEOUT) return;
    c->aligned_timeout_ms =
        percent(s, 30) ? (uint32_t)between(s, 1, 5) : (uint32_t)between(s, 5, 120);
}

void flow_rebuild(struct flow *f)
{
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++)
            f->pointwise[a][b] = f->pointwise[a][b] && f->parallelism[a] == f->parallelism[b];
    bool slow = false, aligned = false; /* of the first channel: they are numbered anew */
    if (f->channels) slow = f->channel[0].slow, aligned = f->channel[0].aligned;
    memset(f->task, 0, sizeof f->task);
    memset(f->channel, 0, sizeof f->channel);
    f->tasks = f->channels = f->sources = 0;
    plan_tasks(f);
    for (uint32_t c = 0; c < f->channels; c++) {
        f->channel[c].slow = slow && c % 2;
        f->channel[c].aligned = aligned && c % 3 == 0;
    }
}

static void plan(struct sim *s, struct job *j)
{
    static const char *const names[] = {"map", "a", "sink", "src", "b", "zz"};
    struct flow *f = &j->flow;
    f->n_ops = percent(s, 10) ? 1 : percent(s, 50) ? 2 : 3;
    uint32_t name = (uint32_t)below(s, 6);
    for (uint32_t o = 0; o < f->n_ops; o++) {
        f->parallelism[o] = (uint32_t)between(s, 1, PARALLEL_MAX);
        snprintf(f->uid[o], sizeof f->uid[o], "%s", names[(name + o * 5) % 6]);
    }
    if (f->n_ops == 2) f->edge[0][1] = true;
    if (f->n_ops == 3) {
        uint64_t shape = below(s, 10);
        f->edge[1][2] = true;
        f->edge[0][1] = shape < 8; /* 8 and 9: two sources */
        f->edge[0][2] = shape == 7 || shape > 7;
    }
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++)
            if (f->edge[a][b] && percent(s, 40)) {
                f->parallelism[b] = f->parallelism[a];
                f->pointwise[a][b] = true;
            }
    if (j->checkpointing.regional && percent(s, 85)) { /* columns that nothing connects */
        uint32_t columns = (uint32_t)between(s, 2, PARALLEL_MAX);
        for (uint32_t a = 0; a < f->n_ops; a++) {
            f->parallelism[a] = columns;
            for (uint32_t b = 0; b < f->n_ops; b++)
                f->pointwise[a][b] = f->edge[a][b];
        }
    }
    for (uint32_t a = 0; a < f->n_ops; a++)
        for (uint32_t b = 0; b < f->n_ops; b++)
            f->pointwise[a][b] = f->pointwise[a][b] && f->parallelism[a] == f->parallelism[b];
    plan_tasks(f);
    uint32_t slow = percent(s, 50) ? 0 : 40, aligned = percent(s, 70) ? 0 : 30;
    for (uint32_t c = 0; c < f->channels; c++) {
        f->channel[c].slow = percent(s, slow);
        f->channel[c].aligned = percent(s, aligned);
    }
    plan_alignment(s, &j->checkpointing);
    f->finite = percent(s, 45);
    f->records = (uint32_t)between(s, 5, RECORDS_MAX - 1);
}

static void wake(struct sim *s, struct task *t, uint64_t when);

/* A record leaves the task for one output, or has reached the sink. */
static void pass(struct sim *s, struct task *t, uint32_t source, uint32_t number)
{
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    if (f->sink) {
        bool again = set_has(&t->state.seen, source, number);
        must(s, !again || flow_repeats(j), "%s sees record %u of source %u twice",
             task_name(j, t->number), number, source);
        if (again) return;
        set_put(&t->state.seen, source, number);
        set_put(&t->fresh, source, number);
        return;
    }
    uint32_t c = f->out[below(s, f->n_out)];
    t->state.sent[c]++;
    channel_put(s, t, c, &(struct item){.kind = ITEM_RECORD, .source = source, .number = number});
}

/* ---- a task's turn */

static void finish_if_done(struct sim *s, struct task *t)
{
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    bool all = f->source ? t->draining || (j->flow.finite && t->state.offset == j->flow.records)
                         : t->state.ends == (1u << f->n_in) - 1;
    if (!all || t->ended || t->told_finished) return;
    /* The library hears it first: while it will not (fenced), the task has not come to its end. */
    int rc = tide_session_finished(t->proc->session, t->number, proc_now(s, t->proc));
    t->told_finished = rc == 0;
    if (!rc && !t->state.finished) {
        t->state.finished = 1;
        channel_put_all(s, t, &(struct item){.kind = ITEM_END_OF_DATA});
        note(s, "%s has reached its end", task_name(j, t->number));
    }
    if (rc) wake(s, t, s->now + 20 * MS);
}

static void take_barrier(struct sim *s, struct task *t, uint32_t input, const struct item *i)
{
    uint64_t now = proc_now(s, t->proc);
    struct tide_barrier b;
    /* from who is restored as ended nothing else comes */
    if (flow_repeats(t->proc->job) && !tide_barrier_decode(i->barrier, &b) &&
        b.flags & TIDE_BARRIER_END)
        t->state.ends |= 1u << input;
    int rc = tide_session_barrier(t->proc->session, t->number, input, i->barrier, now);
    must(s, rc == 0, "%s: tide_session_barrier on channel %u: %s",
         task_name(t->proc->job, t->number), input, tide_strerror(rc));
    proc_pump(s, t->proc);
}

/* What is processed while its channel is captured belongs to the snapshot. */
static void take_item(struct sim *s, struct task *t, uint32_t input, const struct item *i)
{
    const struct flow_task *f = &t->proc->job->flow.task[t->number];
    if (i->kind == ITEM_BARRIER) {
        take_barrier(s, t, input, i);
        return;
    }
    uint64_t round = tide_session_record(t->proc->session, t->number, input, 12);
    if (t->capture && t->capture->round == round)
        flights_add(s, t->capture, TIDE__FLIGHT__FLIGHT_INPUT, input, i);
    if (i->kind == ITEM_END_OF_DATA) {
        t->state.ends |= 1u << input;
        return;
    }
    t->state.got[f->in[input]]++;
    pass(s, t, i->source, i->number);
}

/* Reads one item from a random input; false: nothing is there. */
static bool read_one(struct sim *s, struct task *t)
{
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    if (!f->n_in || !channels_room(t) || s->now < t->next_read) return false;
    uint32_t at = (uint32_t)below(s, f->n_in);
    for (uint32_t n = 0; n < f->n_in; n++, at = (at + 1) % f->n_in) {
        struct item *i = t->blocked >> at & 1 ? NULL : channel_next(s, t, at);
        if (!i) continue;
        if (t->slow && !s->calm && !j->calm) t->next_read = s->now + between(s, MS, 30 * MS);
        take_item(s, t, at, i);
        return true;
    }
    return false;
}

/* A source says at times that it has a backlog; in the end none has. */
static void report_backlog(struct sim *s, struct task *t)
{
    bool behind = !s->calm && (t->behind ? !percent(s, 10) : percent(s, 2));
    if (!t->proc->job->checkpointing.backlog_interval_ms || behind == t->behind) return;
    int rc = tide_session_backlog(t->proc->session, t->number, behind);
    must(s, rc == 0 || rc == TIDE_ESTATE, "%s: tide_session_backlog: %s",
         task_name(t->proc->job, t->number), tide_strerror(rc));
    if (rc) return;
    note(s, "%s has %s backlog", task_name(t->proc->job, t->number), behind ? "a" : "no");
    t->behind = behind;
    proc_pump(s, t->proc);
}

static void emit(struct sim *s, struct task *t)
{
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    if (!f->source || t->ended || t->draining) return;
    if (!t->told_finished) report_backlog(s, t);
    if (!t->running || t->proc->away) return;
    if (t->behind) wake(s, t, s->now + 20 * MS);
    if (t->state.offset == j->flow.records) return;
    if (s->now < t->next_record) {
        wake(s, t, t->next_record);
        return;
    }
    if (channels_room(t)) pass(s, t, f->source_number, t->state.offset++);
    uint64_t pause = s->calm ? between(s, MS, 5 * MS) : between(s, 2 * MS, 60 * MS);
    t->next_record = s->now + pause;
    wake(s, t, t->next_record);
}

static void turn(struct sim *s, void *arg, uint64_t x)
{
    struct task *t = arg;
    struct job *j = t->proc->job;
    if (!t->proc->alive || x != t->turn_at) return;
    t->turn_at = NEVER;
    if (!t->running || t->suspended) return;
    if (t->proc->away || s->now < t->proc->thaw_at) {
        uint64_t until = t->proc->away ? t->proc->busy_until : s->now;
        if (until < t->proc->thaw_at) until = t->proc->thaw_at;
        wake(s, t, (until > s->now ? until : s->now) + 1);
        return;
    }
    if (s->now < t->wedged_until) {
        wake(s, t, t->wedged_until);
        return;
    }
    channels_announce(s, t);
    bool more = true;
    for (int i = 0; i < 4 && more && t->running && !t->suspended && !t->proc->away; i++)
        more = read_one(s, t);
    if (!t->running || t->suspended) return;
    if (t->proc->away) { /* a callback came of it that has not returned yet */
        wake(s, t, t->proc->busy_until + 1);
        return;
    }
    emit(s, t);
    finish_if_done(s, t);
    const struct flow_task *f = &j->flow.task[t->number];
    if (f->n_in && !channels_room(t)) {
        wake(s, t, s->now + 5 * MS);
        return;
    }
    for (uint32_t i = 0; i < f->n_in; i++) {
        struct pipe *p = &t->in->pipe[f->in[i]];
        if (t->blocked >> i & 1 || !p->first) continue;
        uint64_t at = p->first->at > s->now ? p->first->at : s->now + 100;
        wake(s, t, at > t->next_read ? at : t->next_read);
    }
}

static void wake(struct sim *s, struct task *t, uint64_t when)
{
    if (!t->running || when >= t->turn_at) return;
    t->turn_at = when < s->now ? s->now : when;
    sim_at(s, t->turn_at, turn, t, t->turn_at);
}

/* ---- restore, run, end */

static void answer_restored(struct sim *s, void *arg, uint64_t generation)
{
    struct task *t = arg;
    struct job *j = t->proc->job;
    if (!t->proc->alive || t->generation != generation ||
        proc_busy(s, t->proc, answer_restored, arg, generation))
        return;
    bool fails = t->gone || (s->now < j->fail_restore_until && percent(s, 20));
    if (!fails) {
        t->restored = true;
        t->in->restored |= 1u << t->number;
    }
    int rc = tide_session_restored(t->proc->session, t->number, fails ? TIDE_EIO : 0,
                                   tide_bytes_of(t->gone ? "a file is not there"
                                                 : fails ? "a planted fault"
                                                         : ""),
                                   proc_now(s, t->proc));
    note(s, "%s: %s%s%s", task_name(j, t->number), fails ? "could not restore" : "has restored",
         rc ? ": " : "", rc ? tide_strerror(rc) : "");
    proc_pump(s, t->proc);
}

static bool is_owed(const struct tide_delivery *d, const struct part *p)
{
    for (size_t o = 0; d->restore && o < d->restore->n_owed; o++)
        for (size_t i = 0; i + 4 <= d->restore->owed[o]->handle.len; i += 4)
            if (tide_get_u32(d->restore->owed[o]->handle.data + i) == p->id) return true;
    return false;
}

/* A savepoint publishes nothing: what the sink had pre-committed until then is pending still, as
 * its state says, and goes out with its next checkpoint. What else it left in the outside world,
 * for rounds that followed or for one of a process that woke too late, will be made again. */
static void take_up(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    struct job *j = t->proc->job;
    for (struct part *p = j->parts; p; p = p->next) {
        if (p->task != t->number || p->state != PART_PENDING || is_owed(d, p)) continue;
        if (!check_named(j, d->start->snapshot, p)) {
            p->state = PART_DROPPED;
            s->stats->parts_dropped++;
            continue;
        }
        must(s, t->n_pending < PENDING_MAX, "%s restores too many parts", task_name(j, t->number));
        t->pending[t->n_pending].part = p;
        t->pending[t->n_pending++].round = p->round;
    }
}

/* The task of the snapshot, as a file's name has it. */
static uint32_t written_by(const Tide__Artifact *a)
{
    uint32_t task = 0;
    for (size_t i = 1; i < a->path.len && a->path.data[i] >= '0' && a->path.data[i] <= '9'; i++)
        task = task * 10 + (a->path.data[i] - '0');
    return task;
}

static const struct flow *flow_of(const struct job *j, const struct d_snapshot *snapshot)
{
    return snapshot && snapshot->origin ? &snapshot->origin_of->flow : &j->flow;
}

static bool keeps_parallelism(const struct job *j, const struct task *t,
                              const struct d_snapshot *snapshot)
{
    uint32_t op = j->flow.task[t->number].op;
    return flow_of(j, snapshot)->parallelism[op] == j->flow.parallelism[op];
}

/* Where each gets the states of all of its operator's tasks it takes what is its own. */
static bool is_for(struct job *j, const struct task *t, size_t n, const struct d_snapshot *snapshot,
                   const struct state *one)
{
    const struct flow_task *mine = &j->flow.task[t->number];
    const struct flow *had = flow_of(j, snapshot);
    if (n == 1 && had->parallelism[mine->op] == j->flow.parallelism[mine->op]) return true;
    if (one->task >= had->tasks || had->task[one->task].op != mine->op) return true;
    return had->task[one->task].subtask % j->flow.parallelism[mine->op] == mine->subtask;
}

static bool is_moved(struct sim *s, struct tide_bytes directory)
{
    const struct directory *in = files_find(s, (const char *)directory.data, directory.len);
    return in && in->moved;
}

static struct flights *read_state(struct sim *s, struct task *t, const struct tide_delivery *d,
                                  bool *ret_gone)
{
    struct job *j = t->proc->job;
    struct flights *flights = NULL;
    const struct state *from = NULL;
    const struct d_snapshot *snapshot = store_snapshot(j, d->start->snapshot);
    bool rescaled = heir_rescaled(j, snapshot);
    struct state merged = {.task = t->number};
    struct tide_bytes dir = {d->start->snapshot_directory.data, d->start->snapshot_directory.len};
    for (size_t i = 0; i < d->restore->n_artifacts; i++) {
        const Tide__Artifact *a = d->restore->artifacts[i];
        struct tide_bytes bytes = {a->inline_.data, a->inline_.len};
        bool inlined = a->place_case == TIDE__ARTIFACT__PLACE_INLINE;
        if (a->shared) {
            if (pieces_restored(s, t, d, a)) continue;
            return NULL;
        }
        if (a->flight) {
            if (!flights) flights = sim_alloc(s, sizeof *flights);
            must(s, inlined && flights_unpack(s, flights, a->flight, a->channel, bytes),
                 "%s restores records in flight that cannot be read", task_name(j, t->number));
            continue;
        }
        const struct state *one;
        if (inlined && bytes.len == sizeof *one)
            one = (const struct state *)(const void *)sim_bytes(s, bytes).data;
        else
            one = files_read(s, dir, written_by(a));
        if (!one && (t->proc->stale || is_moved(s, dir))) {
            *ret_gone = !t->proc->stale;
            return NULL;
        }
        must(s, one, "%s restores from %.*s, and its file is not there", task_name(j, t->number),
             (int)dir.len, (const char *)dir.data);
        if (!is_for(j, t, d->restore->n_artifacts, snapshot, one)) continue;
        must(s, !from || rescaled, "%s restores two states", task_name(j, t->number));
        from = one;
        set_add(&merged.seen, &one->seen);
    }
    if (from && !keeps_parallelism(j, t, snapshot)) from = &merged;
    if (from) memcpy(&t->state, from, sizeof t->state);
    if (rescaled) heir_channels(j, snapshot, t->number, &t->state);
    return flights;
}

static void drop(struct sim *s, struct task *t)
{
    (void)s;
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    if (t->in) {
        for (uint32_t i = 0; i < f->n_in; i++)
            t->in->pipe[f->in[i]].broken = true;
        for (uint32_t o = 0; o < f->n_out; o++)
            t->in->pipe[f->out[o]].broken = true;
    }
    *t = (struct task){.proc = t->proc,
                       .number = t->number,
                       .turn_at = NEVER,
                       .promotable = t->promotable,
                       .slow = t->slow,
                       .generation = t->generation + 1};
}

static void restore(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    struct job *j = t->proc->job;
    const struct flow_task *f = &j->flow.task[t->number];
    drop(s, t);
    t->attempt = d->attempt;
    t->in = check_attempt(s, j, d->attempt);
    if (t->proc->stale && d->start->token->incarnation < s->old.from) {
        t->in = sim_alloc(s, sizeof *t->in); /* a Start of before, in a callback until now */
        t->in->past = true;
    }
    t->state = (struct state){.task = t->number};
    t->gone = false;
    const struct flights *flights = d->restore ? read_state(s, t, d, &t->gone) : NULL;
    if (!t->gone) check_restored(s, t, d, &t->state, flights);
    /* At least once it may have counted an end that was put in behind its sender's barrier. That
     * sender reads on, and what it has put in since may take another way: each says its end again.
     */
    if (flow_repeats(j)) t->state.ends = t->state.finished = 0;
    t->ended = d->task_ended;
    channels_restore(s, t, flights);
    for (uint32_t i = 0; i < f->n_in; i++)
        t->in->pipe[f->in[i]].reader = t;
    if (f->sink && !t->gone) take_up(s, t, d);
    uint64_t takes = percent(s, 60) ? 0 : below(s, percent(s, 90) ? 20 * MS : 300 * MS);
    sim_at(s, s->now + takes, answer_restored, t, t->generation);
}

static void run(struct sim *s, struct task *t)
{
    t->running = true;
    t->next_record = s->now + below(s, 20 * MS);
    wake(s, t, s->now);
}

/* ---- rounds */

static void forward(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    struct item i = {.kind = ITEM_BARRIER};
    memcpy(i.barrier, d->barrier, TIDE_BARRIER_BYTES);
    if (d->ahead)
        channels_put_ahead(s, t, d);
    else
        channel_put_all(s, t, &i);
}

struct upload {
    struct upload *next;
    struct task *task;
    uint32_t generation;
    uint64_t attempt, round;
    struct state state;
    struct tide_bytes directory;
    bool exists, declines, inlined, shares;
    bool waits, written; /* for records in flight; the state is there */
    struct tide_artifact_view pieces[PIECES_MAX];
    uint32_t n_pieces;
    uint32_t n_parts;
    struct part *parts[];
};

static void ack(struct sim *s, struct upload *u)
{
    struct task *t = u->task;
    struct proc *p = t->proc;
    uint32_t handle[PENDING_MAX];
    for (uint32_t i = 0; i < u->n_parts; i++)
        handle[i] = u->parts[i]->id;
    struct tide_artifact_view a[1 + FLIGHTS_MAX + PIECES_MAX] = {
        {.size = sizeof u->state, .digest_low = u->round, .digest_high = t->number}};
    if (p->job->portable) a[0].name = tide_bytes_of(TIDE_ARTIFACT_OWN);
    if (u->inlined) {
        a[0].is_inline = true;
        a[0].inlined = (struct tide_bytes){(const uint8_t *)&u->state, sizeof u->state};
    }
    const struct flights *flights = flights_of(s, t, u->round);
    uint32_t n = 1 + flights_pack(s, flights, &a[1]);
    memcpy(&a[n], u->pieces, u->n_pieces * sizeof a[n]);
    n += u->n_pieces;
    struct tide_session_ack m = {
        .attempt = u->attempt,
        .round = u->round,
        .task = t->number,
        .artifacts = a,
        .n_artifacts = n,
        .has_handle = u->n_parts > 0,
        .handle = {(const uint8_t *)handle, u->n_parts * sizeof handle[0]}};
    int rc = tide_session_ack(p->session, &m, proc_now(s, p));
    if (rc)
        s->stats->refused_acks++;
    else
        check_acked(s, t, u->attempt, u->round, &u->state, flights, u->parts, u->n_parts);
    if (!rc && flights->n) s->stats->in_flight++;
    note(s, "%s: acks round %" PRIu64 ", %u records in flight%s%s", task_name(p->job, t->number),
         u->round, flights->n, rc ? ": " : "", rc ? tide_strerror(rc) : "");
    proc_pump(s, p);
}

static void uploaded(struct sim *s, void *arg, uint64_t x)
{
    struct upload *u = arg;
    struct task *t = u->task;
    struct proc *p = t->proc;
    if (!p->alive || t->generation != u->generation || proc_busy(s, p, uploaded, arg, x)) return;
    int rc = u->declines ? TIDE_EIO : 0;
    if (!rc && !u->inlined) rc = files_write(s, u->directory, u->exists, t->number, &u->state);
    if (!rc && u->shares) rc = files_make(s, u->directory, u->exists);
    if (!rc && u->shares) u->n_pieces = pieces_put(s, t, u->round, u->directory, u->pieces);
    if (rc) {
        const char *why = u->declines ? "a planted fault" : "the directory is not there";
        tide_session_decline(p->session, u->attempt, u->round, t->number, tide_bytes_of(why),
                             (uint32_t)below(s, 50), proc_now(s, p));
        proc_pump(s, p);
        return;
    }
    u->written = true;
    if (!u->waits) ack(s, u);
}

static void ackable(struct sim *s, struct task *t, uint64_t round)
{
    if (t->capture && t->capture->round == round) t->capture = NULL;
    for (struct upload *u = t->uploads; u; u = u->next) {
        if (u->round != round || !u->waits) continue;
        u->waits = false;
        if (u->written) ack(s, u);
        return;
    }
}

static void overtake(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    must(s, t->capture && t->capture->round == d->round,
         "%s is to put a barrier of round %" PRIu64 " ahead that it does not capture",
         task_name(t->proc->job, t->number), d->round);
    take_barrier(s, t, d->channel, channel_overtake(s, t, d->channel, t->capture));
}

static void pre_commit(struct sim *s, struct task *t, uint64_t round)
{
    struct job *j = t->proc->job;
    static const record_set nothing;
    if (!memcmp(&t->fresh, &nothing, sizeof nothing)) return;
    must(s, t->n_pending < PENDING_MAX, "%s has %u parts pending", task_name(j, t->number),
         t->n_pending);
    struct part *p = sim_alloc(s, sizeof *p);
    *p =
        (struct part){j->parts, j->n_parts++, t->number, t->attempt, round, PART_PENDING, t->fresh};
    j->parts = p;
    t->fresh = nothing;
    t->pending[t->n_pending].part = p;
    t->pending[t->n_pending++].round = round;
}

static void take_snapshot(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    struct job *j = t->proc->job;
    if (j->flow.task[t->number].sink) pre_commit(s, t, d->round);
    struct upload *u = sim_alloc(s, sizeof *u + t->n_pending * sizeof u->parts[0]);
    *u = (struct upload){.task = t,
                         .generation = t->generation,
                         .attempt = t->attempt,
                         .round = d->round,
                         .state = t->state,
                         .directory = sim_bytes(s, d->directory),
                         .exists = d->directory_exists,
                         .declines = s->now < j->decline_until && percent(s, 15),
                         .inlined = percent(s, j->inline_percent),
                         .shares = d->shares && j->pieces,
                         .next = t->uploads,
                         .waits = d->waits,
                         .n_parts = t->n_pending};
    t->uploads = u;
    if (d->captures) t->capture = flights_of(s, t, d->round);
    for (uint32_t i = 0; i < t->n_pending; i++)
        u->parts[i] = t->pending[i].part;
    uint64_t takes = percent(s, 50) ? 0 : below(s, j->upload_max_ms * MS);
    if (takes == 0)
        uploaded(s, u, 0);
    else
        sim_at(s, s->now + takes, uploaded, u, 0);
}

/* ---- effects */

struct confirmation {
    struct task *task;
    uint32_t generation;
    uint64_t round;
};

static void confirm(struct sim *s, void *arg, uint64_t x)
{
    struct confirmation *c = arg;
    struct proc *p = c->task->proc;
    if (!p->alive || c->task->generation != c->generation || proc_busy(s, p, confirm, arg, x))
        return;
    int rc = tide_session_confirm(p->session, c->task->number, c->round, proc_now(s, p));
    if (rc == TIDE_EFENCED && ++x < 100) { /* later, then */
        sim_at(s, s->now + 30 * MS, confirm, arg, x);
        return;
    }
    if (rc == 0) log_task(s, c->task, H_CONFIRMED, c->round);
    proc_pump(s, p);
}

static struct part *part_find(const struct job *j, uint32_t id)
{
    for (struct part *p = j->parts; p; p = p->next)
        if (p->id == id) return p;
    return NULL;
}

static void publish(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    struct job *j = t->proc->job;
    if (s->now < j->mute_until ||
        (s->now < j->decline_until && percent(s, 20))) { /* the outside world does not answer */
        tide_session_commit_failed(t->proc->session, t->number, d->round, proc_now(s, t->proc));
        return;
    }
    if (d->has_handle) {
        for (size_t i = 0; i + 4 <= d->handle.len; i += 4) {
            struct part *p = part_find(j, tide_get_u32(d->handle.data + i));
            must(s, p, "%s gets a commit handle that nobody made", task_name(j, t->number));
            check_publish(s, t, p, d);
        }
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n_pending; i++) {
        if (t->pending[i].round <= d->round && !d->has_handle)
            check_publish(s, t, t->pending[i].part, d);
        else
            t->pending[kept++] = t->pending[i];
    }
    t->n_pending = kept;
    struct confirmation *c = sim_alloc(s, sizeof *c);
    *c = (struct confirmation){t, t->generation, d->round};
    sim_at(s, s->now + (percent(s, 60) ? 0 : below(s, 30 * MS)), confirm, c, 0);
}

static void aborted(struct sim *s, struct task *t, uint64_t round)
{
    (void)s;
    if (t->capture && t->capture->round == round) t->capture = NULL;
    if (!PLANTED(DROP_PRECOMMIT)) return; /* the next complete covers what is pending */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->n_pending; i++)
        if (t->pending[i].round != round) t->pending[kept++] = t->pending[i];
    t->n_pending = kept;
}

/* ---- the door */

static void deliver(struct sim *s, struct task *t, const struct tide_delivery *d)
{
    const struct job *j = t->proc->job;
    switch (d->type) {
    case TIDE_DO_RESTORE: restore(s, t, d); break;
    case TIDE_DO_RUN: run(s, t); break;
    case TIDE_DO_FORWARD: forward(s, t, d); break;
    case TIDE_DO_PROMOTE: channels_put_ahead(s, t, d); break;
    case TIDE_DO_OVERTAKE: overtake(s, t, d); break;
    case TIDE_DO_ACKABLE: ackable(s, t, d->round); break;
    case TIDE_DO_SNAPSHOT: take_snapshot(s, t, d); break;
    case TIDE_DO_COMPLETE: publish(s, t, d); break;
    case TIDE_DO_ABORT: aborted(s, t, d->round); break;
    case TIDE_DO_DRAIN:
        must(s, t->state.ends == (1u << j->flow.task[t->number].n_in) - 1,
             "%s is to drain, and has an input that is open", task_name(j, t->number));
        t->draining = true;
        j->program->wake(s, t, s->now);
        break;
    case TIDE_DO_SUSPEND: t->suspended = d->round; break;
    case TIDE_DO_RESUME:
        t->suspended = 0;
        t->called = true; /* one that meets asks again whether it may go on */
        j->program->wake(s, t, s->now);
        break;
    default: break;
    }
}

const struct program flow_program = {.name = "dataflow",
                                     .plan = plan,
                                     .deliver = deliver,
                                     .drop = drop,
                                     .wake = wake,
                                     .check_cut = flow_check_cut,
                                     .check_finished = flow_check_finished};
