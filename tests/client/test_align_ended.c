/* Which tasks act on a trigger: the daemon tells every worker of a round once, and each task knows
 * by itself whether anything still comes before it. Those whose input channels have all ended, or
 * that have none, begin the round; the others wait for barriers of the channels that are left. */
#include "tests/client/lib_align.h"

static const struct {
    enum tide_align_mode mode;
    uint32_t flags;
    const char *first, *last; /* what the first barrier does, and the last that is missing */
} modes[] = {
    {TIDE_ALIGN_ALIGNED, 0, "block 0", "forward 1 snapshot 1 after 10 unblock 0"},
    {TIDE_ALIGN_TIMEOUT, 0, "block 0", "forward 1 snapshot 1 after 10 unblock 0"},
    {TIDE_ALIGN_COUNTED, C, "", "count 1 snapshot 1 after 10"},
    {TIDE_ALIGN_UNALIGNED, U, "ahead 1 snapshot 1 waits", "ackable 1 after 10"},
};

static void begin(int i)
{
    trigger_as(1, modes[i].mode, 1000000);
}

/* S43: a source has no channels. */
START_TEST(s43_a_source_begins)
{
    make(0);
    begin(_i);
    ck_assert_ptr_nonnull(strstr(trace, "snapshot 1"));
    tide_align_free(a);
}
END_TEST

/* S44, S46, S47: neither the order in which channels end nor how many inputs they belong to
 * matters: one that is open is waited for, and none is left when all have ended. */
START_TEST(s44_a_task_begins_when_nothing_comes_before_it)
{
    for (uint32_t open = 0; open < 4; open++) {
        make(3);
        for (uint32_t channel = 0; channel < 3; channel++)
            if (channel != open) end(channel);
        expect(trace, open == 3   ? "0:end ->\n1:end ->\n2:end -> ended\n"
                      : open == 2 ? "0:end ->\n1:end ->\n"
                      : open == 1 ? "0:end ->\n2:end ->\n"
                                  : "1:end ->\n2:end ->\n");
        begin(_i);
        ck_assert_int_eq(strstr(trace, "snapshot 1") != NULL, open == 3);
        if (open < 3) {
            barrier_with(open, 1, modes[_i].flags);
            ck_assert_ptr_nonnull(strstr(trace, "snapshot 1"));
        }
        tide_align_free(a);
    }
}
END_TEST

/* S179: some of its channels have ended: those that are left make the round, in each way to align.
 */
START_TEST(s179_some_channels_have_ended)
{
    char want[200];
    make(4);
    end(1);
    end(3);
    trace[0] = '\0';
    begin(_i);
    expect(trace, "trigger 1 ->\n");
    barrier_with(0, 1, modes[_i].flags);
    snprintf(want, sizeof want, "0:1%s ->%s%s\n",
             modes[_i].flags == U ? "u"
             : modes[_i].flags    ? "c"
                                  : "",
             modes[_i].first[0] ? " " : "", modes[_i].first);
    expect(trace, want);
    barrier_with(2, 1, modes[_i].flags);
    snprintf(want, sizeof want, "2:1%s -> %s\n",
             modes[_i].flags == U ? "u"
             : modes[_i].flags    ? "c"
                                  : "",
             modes[_i].last);
    expect(trace, want);
    tide_align_free(a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {s43_a_source_begins,
                                  s44_a_task_begins_when_nothing_comes_before_it,
                                  s179_some_channels_have_ended};
    Suite *suite = suite_create("align_ended");
    TCase *all = tcase_create("align_ended");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_loop_test(all, tests[i], 0, (int)(sizeof modes / sizeof *modes));
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
