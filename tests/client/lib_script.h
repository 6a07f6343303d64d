/* A scripted daemon, a worker that hosts a whole job, and the trace of what passes between them.
 *
 * The job: a source `a` (task 0) and `b` (task 1) with two input channels, which a's barriers reach
 * at once, but not the second one after the script has said `hold`. Both are of one worker, at a
 * daemon that says what the script says and nothing else, but for the answers to heartbeats.
 *
 * A script that begins with `meet WINDOW` has a job of rendezvous rounds. In one that begins with
 * `flight PROMOTABLE` the tasks have queues: what reaches b's inputs is what the script puts there.
 *
 * A script is a list of words with their arguments, ended by semicolons; lib_script.c has the
 * table. The trace has one line for each message of the worker (> what), callback (a what, b what),
 * note for the program's log, and end: `> closed` when the worker closes the connection, `over`
 * when process() has an error, with its sentence. Times and ports are masked. */
#ifndef TESTS_CLIENT_SCRIPT_H
#define TESTS_CLIENT_SCRIPT_H

#define SCRIPT_TRACE 16384u

/* Runs it with a worker of its own. When the connection is closed at the end and nothing is over,
 * waits until the worker has come back. The trace: static, until the next run. */
const char *script_run(const char *text);

#endif
