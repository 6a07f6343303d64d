/* The tables, as numbered migrations: forward only, never edited once released, a new one is added
 * at the end. user_version counts those that a database has had.
 *
 * The conventions: numbers of attempts are the job's, those of rounds the store's; a snapshot's
 * number is its round's. *_wall are us since 1970 (UTC), *_us durations in us. NULL means absent.
 * What people read is TEXT; the views at the end are for them. CHECKs of what a round writes spell
 * their OR out: for an IN of three or more SQLite builds a table in memory at every statement,
 * which costs more than the statement. */
#include "storage/db.h"

static const char *const migrations[] = {
    /* 1: the first release */
    "CREATE TABLE store ("
    "  one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  id BLOB NOT NULL CHECK (length(id) = 16),"
    "  reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0)," /* ids up to this may have been
                                                                      issued */
    "  lease_us INTEGER NOT NULL DEFAULT 0 CHECK (lease_us >= 0)," /* the longest lease ever granted
                                                                    */
    /* the last entry of the journal that is in here, and its digest */
    "  applied INTEGER NOT NULL DEFAULT 0 CHECK (applied >= 0),"
    "  applied_digest BLOB NOT NULL DEFAULT (zeroblob(16)) CHECK (length(applied_digest) = 16)"
    ") STRICT;"

    "CREATE TABLE incarnation ("
    "  number INTEGER PRIMARY KEY CHECK (number > 0),"
    "  nonce INTEGER NOT NULL," /* 64 bits, as they are */
    "  started_wall INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TRIGGER incarnation_rises BEFORE INSERT ON incarnation"
    "  WHEN NEW.number <= (SELECT max(number) FROM incarnation)"
    "  BEGIN SELECT RAISE(ABORT, 'an incarnation must be above every earlier one'); END;"

    "CREATE TABLE job ("
    "  nr INTEGER PRIMARY KEY," /* within this file only: what other tables refer to */
    "  id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),"
    "  name TEXT NOT NULL UNIQUE CHECK (length(name) > 0),"
    "  state TEXT NOT NULL CHECK (state IN ('WAITING', 'RESTORING', 'RUNNING', 'STOPPING', 'HELD',"
    "    'SUSPENDED', 'FINISHED', 'CANCELLED', 'FAILED')),"
    "  cause TEXT,"
    "  state_wall INTEGER NOT NULL,"
    "  ended_snapshot INTEGER," /* the round of the snapshot that it ended with */
    "  created_wall INTEGER NOT NULL,"
    "  fingerprint BLOB NOT NULL,"
    "  spec BLOB NOT NULL" /* a packed JobSpec */
    ") STRICT;"

    "CREATE TABLE attempt ("
    "  job INTEGER NOT NULL REFERENCES job,"
    "  number INTEGER NOT NULL CHECK (number > 0),"
    "  incarnation INTEGER NOT NULL REFERENCES incarnation,"
    "  external INTEGER NOT NULL UNIQUE CHECK (external > 0),"
    "  restored_from INTEGER REFERENCES snapshot,"
    "  directory TEXT NOT NULL,"
    "  begun_wall INTEGER NOT NULL,"
    "  running_wall INTEGER," /* when all tasks had restored */
    "  ended_wall INTEGER,"
    "  end_reason TEXT,"
    "  PRIMARY KEY (job, number)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE attempt_member ("
    "  job INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL,"
    "  worker TEXT NOT NULL,"
    "  endpoint BLOB NOT NULL,"
    "  boot_id TEXT NOT NULL,"
    "  pid INTEGER NOT NULL,"
    "  start_time INTEGER NOT NULL,"
    "  tasks TEXT NOT NULL," /* first-last, in ascending order: '0-99 200-219' */
    "  PRIMARY KEY (job, attempt, worker),"
    "  FOREIGN KEY (job, attempt) REFERENCES attempt"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE round ("
    "  number INTEGER PRIMARY KEY CHECK (number > 0),"
    "  job INTEGER NOT NULL REFERENCES job,"
    "  incarnation INTEGER REFERENCES incarnation,"
    "  attempt INTEGER,"
    "  kind TEXT NOT NULL CHECK (kind = 'checkpoint' OR kind = 'savepoint'),"
    "  operation INTEGER," /* NULL: periodic */
    "  state TEXT NOT NULL CHECK (state = 'begun' OR state = 'complete' OR state = 'aborted'),"
    "  swept INTEGER NOT NULL DEFAULT 0 CHECK (swept = 0 OR swept = 1),"
    "  directory TEXT,"
    "  begun_wall INTEGER NOT NULL,"
    "  ended_wall INTEGER,"
    "  code INTEGER," /* AbortCode of worker.proto */
    "  reason TEXT,"
    "  tasks INTEGER,"
    "  acked INTEGER,"
    "  trigger_us INTEGER," /* until the last trigger was handed to the kernel, */
    "  acks_us INTEGER,"    /* from then until the last ack, */
    "  commit_us INTEGER,"  /* from then until it was durable, */
    "  notify_us INTEGER,"  /* from then until the last complete was handed to the kernel */
    "  bytes INTEGER,"
    "  holders INTEGER NOT NULL DEFAULT 0," /* tasks that had not acked; some of them in
                                               round_holder */
    "  CHECK ((state = 'begun') = (ended_wall IS NULL)),"
    "  CHECK ((state = 'aborted') = (reason IS NOT NULL)),"
    "  CHECK (swept = 0 OR state = 'aborted'),"
    "  FOREIGN KEY (job, attempt) REFERENCES attempt"
    ") STRICT;"
    "CREATE INDEX round_of_job ON round (job, number);"
    "CREATE INDEX round_unsettled ON round (job, number)"
    "  WHERE state = 'begun' OR (state = 'aborted' AND swept = 0);"

    "CREATE TABLE round_holder ("
    "  round INTEGER NOT NULL REFERENCES round,"
    "  task INTEGER NOT NULL,"
    "  uid TEXT NOT NULL,"
    "  subtask INTEGER NOT NULL,"
    "  worker TEXT NOT NULL,"
    "  phase TEXT NOT NULL,"
    "  PRIMARY KEY (round, task)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE snapshot ("
    "  round INTEGER PRIMARY KEY REFERENCES round DEFERRABLE INITIALLY DEFERRED,"
    "  job INTEGER NOT NULL REFERENCES job,"
    "  incarnation INTEGER NOT NULL REFERENCES incarnation,"
    "  attempt INTEGER NOT NULL,"
    "  kind TEXT NOT NULL CHECK (kind = 'checkpoint' OR kind = 'savepoint'),"
    "  state TEXT NOT NULL CHECK (state = 'retained' OR state = 'deleting' OR state = 'deleted'),"
    "  owner TEXT NOT NULL CHECK (owner = 'system' OR owner = 'user'),"
    "  directory TEXT NOT NULL,"
    "  label TEXT,"
    "  begun_wall INTEGER NOT NULL,"
    "  completed_wall INTEGER NOT NULL,"
    "  deleting_wall INTEGER,"
    "  deleted_wall INTEGER,"
    "  tasks INTEGER NOT NULL,"
    "  artifacts INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL,"
    "  ended BLOB," /* pairs (first, count) of u32, little-endian: tasks ended once it is restored
                     */
    "  manifest_bytes INTEGER NOT NULL,"
    "  manifest_parts INTEGER NOT NULL," /* 0: deleted */
    "  manifest_digest BLOB NOT NULL CHECK (length(manifest_digest) = 16),"
    "  CHECK ((state = 'retained') = (deleting_wall IS NULL)),"
    "  CHECK ((state = 'deleted') = (deleted_wall IS NOT NULL)),"
    "  CHECK (state = 'deleted' OR manifest_parts > 0),"
    "  FOREIGN KEY (job, attempt) REFERENCES attempt"
    ") STRICT;"
    "CREATE INDEX snapshot_kept ON snapshot (job, round) WHERE state <> 'deleted';"
    "CREATE INDEX snapshot_unpurged ON snapshot (round) WHERE state = 'deleted' AND manifest_parts "
    "> 0;"
    "CREATE TRIGGER snapshot_moves BEFORE UPDATE OF state ON snapshot"
    "  WHEN NOT (OLD.state = 'retained' AND NEW.state = 'deleting'"
    "    OR OLD.state = 'deleting' AND NEW.state = 'deleted')"
    "  BEGIN SELECT RAISE(ABORT, 'a snapshot goes from retained to deleting to deleted, not "
    "otherwise'); END;"
    "CREATE TRIGGER snapshot_owing BEFORE UPDATE OF state ON snapshot"
    "  WHEN NEW.state = 'deleting' AND EXISTS (SELECT 1 FROM owed WHERE round = NEW.round)"
    "  BEGIN SELECT RAISE(ABORT, 'a snapshot with owed commits is not deleted'); END;"
    "CREATE TRIGGER snapshot_of_user BEFORE UPDATE OF state ON snapshot"
    "  WHEN NEW.state = 'deleting' AND OLD.owner = 'user'"
    "  BEGIN SELECT RAISE(ABORT, 'a snapshot that belongs to the user is not deleted'); END;"
    "CREATE TRIGGER snapshot_stays BEFORE DELETE ON snapshot"
    "  BEGIN SELECT RAISE(ABORT, 'a row outlives its bytes'); END;"

    /* The image of a manifest, cut in parts: joined in order, and the digest behind them. */
    "CREATE TABLE manifest ("
    "  snapshot INTEGER NOT NULL REFERENCES snapshot,"
    "  part INTEGER NOT NULL CHECK (part >= 0),"
    "  data BLOB NOT NULL,"
    "  PRIMARY KEY (snapshot, part)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE lineage ("
    "  snapshot INTEGER NOT NULL REFERENCES snapshot,"
    "  parent INTEGER NOT NULL REFERENCES snapshot,"
    "  relation TEXT NOT NULL CHECK (relation = 'restored-from' OR relation = 'follows'),"
    "  PRIMARY KEY (snapshot, parent),"
    "  CHECK (parent < snapshot)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE owed ("
    "  job INTEGER NOT NULL REFERENCES job,"
    "  uid TEXT NOT NULL,"
    "  subtask INTEGER NOT NULL,"
    "  round INTEGER NOT NULL REFERENCES snapshot DEFERRABLE INITIALLY DEFERRED,"
    "  handle BLOB NOT NULL,"
    "  PRIMARY KEY (job, uid, subtask, round)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX owed_of_round ON owed (round);"

    "CREATE TABLE operation ("
    "  id INTEGER PRIMARY KEY CHECK (id > 0),"
    "  job INTEGER NOT NULL REFERENCES job,"
    "  kind TEXT NOT NULL CHECK (kind = 'checkpoint' OR kind = 'savepoint'),"
    "  state TEXT NOT NULL CHECK (state = 'queued' OR state = 'running' OR state = 'done'"
    " OR state = 'failed'),"
    "  key BLOB," /* chosen by the client */
    "  snapshot INTEGER,"
    "  target TEXT,"
    "  location TEXT,"
    "  error TEXT,"
    "  label TEXT,"
    "  begun_wall INTEGER NOT NULL,"
    "  ended_wall INTEGER,"
    "  CHECK ((state = 'done' OR state = 'failed') = (ended_wall IS NOT NULL))"
    ") STRICT;"
    "CREATE INDEX operation_open ON operation (job, id) WHERE ended_wall IS NULL;"
    "CREATE INDEX operation_keyed ON operation (job, id) WHERE key IS NOT NULL;"

    "CREATE TABLE audit ("
    "  nr INTEGER PRIMARY KEY,"
    "  wall INTEGER NOT NULL,"
    "  job INTEGER REFERENCES job,"
    "  who TEXT NOT NULL,"
    "  what TEXT NOT NULL,"
    "  detail TEXT"
    ") STRICT;"

    "CREATE VIEW jobs AS SELECT name, lower(hex(id)) AS id, state, cause,"
    "  (SELECT max(number) FROM attempt a WHERE a.job = job.nr) AS attempt,"
    "  (SELECT max(round) FROM snapshot s WHERE s.job = job.nr AND s.state = 'retained') AS "
    "newest_snapshot,"
    "  datetime(created_wall / 1000000, 'unixepoch') AS created FROM job;"
    "CREATE VIEW attempts AS SELECT name AS job, number AS attempt, incarnation, external, "
    "restored_from,"
    "  (SELECT count(*) FROM attempt_member m WHERE (m.job, m.attempt) = (a.job, a.number)) AS "
    "workers,"
    "  datetime(begun_wall / 1000000, 'unixepoch') AS begun,"
    "  (running_wall - begun_wall) / 1000 AS restore_ms,"
    "  datetime(ended_wall / 1000000, 'unixepoch') AS ended, end_reason FROM attempt a JOIN job ON "
    "nr = a.job;"
    "CREATE VIEW rounds AS SELECT r.number AS round, name AS job, attempt, kind, r.state,"
    "  datetime(begun_wall / 1000000, 'unixepoch') AS begun, acked || '/' || tasks AS acked,"
    "  (ended_wall - begun_wall) / 1000 AS ms, trigger_us, acks_us, commit_us, notify_us, bytes, "
    "reason,"
    "  (SELECT group_concat(uid || '-' || subtask || ' on ' || worker || ': ' || phase, '; ')"
    "    FROM round_holder h WHERE h.round = r.number) AS held_by FROM round r JOIN job ON nr = "
    "r.job;"
    "CREATE VIEW snapshots AS SELECT s.round AS snapshot, name AS job, kind, s.state, owner, "
    "attempt,"
    "  datetime(completed_wall / 1000000, 'unixepoch') AS completed, tasks, artifacts, bytes, "
    "manifest_bytes,"
    "  (SELECT parent FROM lineage l WHERE l.snapshot = s.round) AS parent,"
    "  (SELECT count(*) FROM owed o WHERE o.round = s.round) AS owed, label, directory"
    "  FROM snapshot s JOIN job ON nr = s.job;"
    "CREATE VIEW operations AS SELECT o.id AS operation, name AS job, kind, o.state, snapshot, "
    "location, error,"
    "  datetime(begun_wall / 1000000, 'unixepoch') AS begun, datetime(ended_wall / 1000000, "
    "'unixepoch') AS ended"
    "  FROM operation o JOIN job ON nr = o.job;"
    "CREATE VIEW audit_log AS SELECT datetime(wall / 1000000, 'unixepoch') AS at, name AS job, "
    "who, what, detail"
    "  FROM audit LEFT JOIN job ON audit.job = job.nr;",

    /* 2: 0.2.0. A table whose CHECK has grown is made anew. */
    "ALTER TABLE round ADD COLUMN style TEXT NOT NULL DEFAULT 'flow'"
    "  CHECK (style = 'flow' OR style = 'rendezvous');"
    "ALTER TABLE round ADD COLUMN alignment TEXT NOT NULL DEFAULT 'aligned'"
    "  CHECK (alignment = 'aligned' OR alignment = 'at least once' OR alignment = 'unaligned'"
    "    OR alignment = 'aligned with timeout');"
    "ALTER TABLE round ADD COLUMN stop TEXT NOT NULL DEFAULT 'no'"
    "  CHECK (stop = 'no' OR stop = 'suspend' OR stop = 'drain');"
    "ALTER TABLE round ADD COLUMN unaligned INTEGER NOT NULL DEFAULT 0"
    "  CHECK (unaligned = 0 OR unaligned = 1);" /* some task did not wait for all barriers */
    "ALTER TABLE round ADD COLUMN counted INTEGER NOT NULL DEFAULT 0"
    "  CHECK (counted = 0 OR counted = 1);" /* aborted: against the job's tolerance */
    "ALTER TABLE round ADD COLUMN processed_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round ADD COLUMN persisted_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round ADD COLUMN align_us INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE round ADD COLUMN turned_us INTEGER NOT NULL DEFAULT 0;" /* 0: it did not turn */

    /* One that was imported has the number of a round that never was, and no attempt. */
    "DROP VIEW jobs;"
    "DROP VIEW snapshots;"
    "CREATE TABLE snapshot_1 AS SELECT * FROM snapshot;"
    "DROP TABLE snapshot;"
    "CREATE TABLE snapshot ("
    "  round INTEGER PRIMARY KEY CHECK (round > 0),"
    "  job INTEGER NOT NULL REFERENCES job,"
    "  incarnation INTEGER NOT NULL REFERENCES incarnation,"
    "  attempt INTEGER,"
    "  kind TEXT NOT NULL CHECK (kind = 'checkpoint' OR kind = 'savepoint'),"
    "  state TEXT NOT NULL CHECK (state = 'retained' OR state = 'deleting' OR state = 'deleted'),"
    "  owner TEXT NOT NULL CHECK (owner = 'system' OR owner = 'user'),"
    "  directory TEXT NOT NULL,"
    "  label TEXT,"
    "  begun_wall INTEGER NOT NULL,"
    "  completed_wall INTEGER NOT NULL,"
    "  deleting_wall INTEGER,"
    "  deleted_wall INTEGER,"
    "  tasks INTEGER NOT NULL,"
    "  artifacts INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL,"
    "  ended BLOB,"
    "  manifest_bytes INTEGER NOT NULL,"
    "  manifest_parts INTEGER NOT NULL,"
    "  manifest_digest BLOB NOT NULL CHECK (length(manifest_digest) = 16),"
    "  style TEXT NOT NULL DEFAULT 'flow' CHECK (style = 'flow' OR style = 'rendezvous'),"
    "  unaligned INTEGER NOT NULL DEFAULT 0 CHECK (unaligned = 0 OR unaligned = 1),"
    "  commits INTEGER NOT NULL DEFAULT 0"
    "    CHECK (commits = 0 OR commits = 1)," /* a savepoint that published effects */
    "  imported INTEGER NOT NULL DEFAULT 0 CHECK (imported = 0 OR imported = 1),"
    "  disposed INTEGER NOT NULL DEFAULT 0"
    "    CHECK (disposed = 0 OR disposed = 1)," /* its user has asked for its deletion */
    "  shared INTEGER NOT NULL DEFAULT 0 CHECK (shared >= 0)," /* of its artifacts: those that are
                                                                */
    "  taken INTEGER GENERATED ALWAYS AS (iif(imported, NULL, round)) VIRTUAL"
    "    REFERENCES round DEFERRABLE INITIALLY DEFERRED,"
    "  CHECK ((attempt IS NULL) = imported),"
    "  CHECK (imported = 0 OR (owner = 'user' AND commits = 0)),"
    "  CHECK ((state = 'retained') = (deleting_wall IS NULL)),"
    "  CHECK ((state = 'deleted') = (deleted_wall IS NOT NULL)),"
    "  CHECK (state = 'deleted' OR manifest_parts > 0),"
    "  FOREIGN KEY (job, attempt) REFERENCES attempt"
    ") STRICT;"
    "INSERT INTO snapshot (round, job, incarnation, attempt, kind, state, owner, directory, label,"
    "  begun_wall, completed_wall, deleting_wall, deleted_wall, tasks, artifacts, bytes, ended,"
    "  manifest_bytes, manifest_parts, manifest_digest) SELECT round, job, incarnation, attempt,"
    "  kind, state, owner, directory, label, begun_wall, completed_wall, deleting_wall,"
    "  deleted_wall, tasks, artifacts, bytes, ended, manifest_bytes, manifest_parts,"
    "  manifest_digest FROM snapshot_1;"
    "DROP TABLE snapshot_1;"
    "CREATE INDEX snapshot_kept ON snapshot (job, round) WHERE state <> 'deleted';"
    "CREATE INDEX snapshot_unpurged ON snapshot (round) WHERE state = 'deleted' AND manifest_parts "
    "> 0;"
    "CREATE INDEX snapshot_imported ON snapshot (job, round) WHERE imported = 1;"
    "CREATE TRIGGER snapshot_moves BEFORE UPDATE OF state ON snapshot"
    "  WHEN NOT (OLD.state = 'retained' AND NEW.state = 'deleting'"
    "    OR OLD.state = 'deleting' AND NEW.state = 'deleted')"
    "  BEGIN SELECT RAISE(ABORT, 'a snapshot goes from retained to deleting to deleted, not "
    "otherwise'); END;"
    "CREATE TRIGGER snapshot_owing BEFORE UPDATE OF state ON snapshot"
    "  WHEN NEW.state = 'deleting' AND EXISTS (SELECT 1 FROM owed WHERE round = NEW.round)"
    "  BEGIN SELECT RAISE(ABORT, 'a snapshot with owed commits is not deleted'); END;"
    "CREATE TRIGGER snapshot_of_user BEFORE UPDATE OF state ON snapshot"
    "  WHEN NEW.state = 'deleting' AND OLD.owner = 'user' AND NEW.disposed = 0"
    "  BEGIN SELECT RAISE(ABORT, 'a snapshot that belongs to the user is not deleted'); END;"
    "CREATE TRIGGER snapshot_stays BEFORE DELETE ON snapshot"
    "  BEGIN SELECT RAISE(ABORT, 'a row outlives its bytes'); END;"

    /* A file that several checkpoints of a job use. Its key is its path below the directory of the
     * job that wrote it. */
    "CREATE TABLE shared ("
    "  nr INTEGER PRIMARY KEY,"
    "  job INTEGER NOT NULL REFERENCES job,"
    "  key TEXT NOT NULL CHECK (length(key) > 0),"
    "  directory TEXT NOT NULL,"
    "  size INTEGER NOT NULL CHECK (size >= 0),"
    "  digest BLOB NOT NULL CHECK (length(digest) = 16),"
    "  state TEXT NOT NULL DEFAULT 'retained'"
    "    CHECK (state = 'retained' OR state = 'deleting' OR state = 'deleted'),"
    "  deleting_wall INTEGER,"
    "  deleted_wall INTEGER,"
    "  UNIQUE (job, key),"
    "  CHECK ((state = 'retained') = (deleting_wall IS NULL)),"
    "  CHECK ((state = 'deleted') = (deleted_wall IS NOT NULL))"
    ") STRICT;"
    "CREATE INDEX shared_kept ON shared (job, nr) WHERE state <> 'deleted';"
    /* By which checkpoints of a chain, the line of a job's snapshots. */
    "CREATE TABLE shared_use ("
    "  artifact INTEGER NOT NULL REFERENCES shared,"
    "  chain INTEGER NOT NULL REFERENCES job,"
    "  first INTEGER NOT NULL CHECK (first > 0),"
    "  last INTEGER CHECK (last >= first)," /* NULL: the newest, and those that follow */
    "  PRIMARY KEY (artifact, chain)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER shared_moves BEFORE UPDATE OF state ON shared"
    "  WHEN NOT (OLD.state = 'retained' AND NEW.state = 'deleting'"
    "    OR OLD.state = 'deleting' AND NEW.state = 'deleted')"
    "  BEGIN SELECT RAISE(ABORT, 'a shared artifact goes from retained to deleting to deleted, not "
    "otherwise'); END;"
    "CREATE TRIGGER shared_live BEFORE UPDATE OF state ON shared"
    "  WHEN NEW.state = 'deleting' AND EXISTS (SELECT 1 FROM shared_use u JOIN snapshot s"
    "    ON s.job = u.chain AND s.round BETWEEN u.first AND ifnull(u.last, 9223372036854775807)"
    "    WHERE u.artifact = NEW.nr AND s.state = 'retained' AND s.shared > 0 AND s.imported = 0)"
    "  BEGIN SELECT RAISE(ABORT, 'a shared artifact that a snapshot uses is not deleted'); END;"
    "CREATE TRIGGER shared_used_again BEFORE UPDATE OF last ON shared_use"
    "  WHEN NEW.last IS NULL AND (SELECT state FROM shared WHERE nr = NEW.artifact) <> 'retained'"
    "  BEGIN SELECT RAISE(ABORT, 'a shared artifact that is not retained is not used again'); END;"
    "CREATE TRIGGER shared_stays BEFORE DELETE ON shared"
    "  BEGIN SELECT RAISE(ABORT, 'a row outlives its bytes'); END;"
    "CREATE VIEW shared_artifacts AS SELECT a.nr AS artifact, name AS job, key, size, a.state,"
    "  (SELECT group_concat(c.name || ' ' || first || '-' || ifnull(last, ''), ', ')"
    "    FROM shared_use u JOIN job c ON c.nr = u.chain WHERE u.artifact = a.nr) AS used_by,"
    "  datetime(deleted_wall / 1000000, 'unixepoch') AS deleted, directory"
    "  FROM shared a JOIN job ON job.nr = a.job;"

    "CREATE TABLE lineage_1 AS SELECT * FROM lineage;"
    "DROP TABLE lineage;"
    "CREATE TABLE lineage ("
    "  snapshot INTEGER NOT NULL REFERENCES snapshot,"
    "  parent INTEGER NOT NULL REFERENCES snapshot,"
    "  relation TEXT NOT NULL CHECK (relation = 'restored-from' OR relation = 'follows'"
    "    OR relation = 'copied-from'),"
    "  PRIMARY KEY (snapshot, parent),"
    "  CHECK (parent < snapshot)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO lineage SELECT * FROM lineage_1;"
    "DROP TABLE lineage_1;"

    /* what an admin has ordered the job to go on from, until a newer round has had its effects */
    "ALTER TABLE job ADD COLUMN base_since INTEGER;" /* only rounds above it are newer; NULL: none
                                                      */
    "ALTER TABLE job ADD COLUMN base_snapshot INTEGER REFERENCES snapshot;" /* NULL: nothing */
    "ALTER TABLE job ADD COLUMN base_unmatched INTEGER NOT NULL DEFAULT 0"
    "  CHECK (base_unmatched = 0 OR base_unmatched = 1);"
    "ALTER TABLE job ADD COLUMN base_adopted BLOB;"

    /* the attempt in which the worker was started, when others were rewound since; NULL: this one
     */
    "ALTER TABLE attempt_member ADD COLUMN since INTEGER;"

    "DROP VIEW operations;"
    "ALTER TABLE operation RENAME TO operation_1;"
    "CREATE TABLE operation ("
    "  id INTEGER PRIMARY KEY CHECK (id > 0),"
    "  job INTEGER NOT NULL REFERENCES job,"
    "  kind TEXT NOT NULL CHECK (kind IN ('checkpoint', 'savepoint', 'stop', 'cancel', 'restore',"
    "    'dispose', 'hold', 'release', 'import', 'export')),"
    "  state TEXT NOT NULL CHECK (state = 'queued' OR state = 'running' OR state = 'done'"
    " OR state = 'failed'),"
    "  key BLOB," /* chosen by the client */
    "  snapshot INTEGER,"
    "  target TEXT,"
    "  location TEXT,"
    "  error TEXT,"
    "  label TEXT,"
    "  begun_wall INTEGER NOT NULL,"
    "  ended_wall INTEGER,"
    "  request BLOB," /* a packed Request, to be taken up again after a restart */
    "  report TEXT,"  /* lines for people */
    "  snapshot_good INTEGER NOT NULL DEFAULT 0 CHECK (snapshot_good = 0 OR snapshot_good = 1),"
    "  CHECK ((state = 'done' OR state = 'failed') = (ended_wall IS NOT NULL))"
    ") STRICT;"
    "INSERT INTO operation (id, job, kind, state, key, snapshot, target, location, error, label,"
    "  begun_wall, ended_wall) SELECT id, job, kind, state, key, snapshot, target, location, error,"
    "  label, begun_wall, ended_wall FROM operation_1;"
    "DROP TABLE operation_1;"
    "CREATE INDEX operation_open ON operation (job, id) WHERE ended_wall IS NULL;"
    "CREATE INDEX operation_keyed ON operation (job, id) WHERE key IS NOT NULL;"
    "CREATE VIEW operations AS SELECT o.id AS operation, name AS job, kind, o.state, snapshot, "
    "location, error, report,"
    "  datetime(begun_wall / 1000000, 'unixepoch') AS begun, datetime(ended_wall / 1000000, "
    "'unixepoch') AS ended"
    "  FROM operation o JOIN job ON nr = o.job;"

    "DROP VIEW rounds;"
    "CREATE VIEW rounds AS SELECT r.number AS round, name AS job, attempt, kind, style, alignment,"
    "  unaligned, stop, r.state,"
    "  datetime(begun_wall / 1000000, 'unixepoch') AS begun, acked || '/' || tasks AS acked,"
    "  (ended_wall - begun_wall) / 1000 AS ms, trigger_us, acks_us, commit_us, notify_us, bytes, "
    "align_us, turned_us, processed_bytes, persisted_bytes, reason, counted,"
    "  (SELECT group_concat(CASE WHEN task < tasks THEN uid || '-' || subtask WHEN subtask = 1 "
    "    THEN 'the coordinator of ' || uid ELSE 'hook ' || uid END"
    "    || ' on ' || worker || ': ' || phase, '; ')"
    "    FROM round_holder h WHERE h.round = r.number) AS held_by FROM round r JOIN job ON nr = "
    "r.job;"
    "CREATE VIEW jobs AS SELECT name, lower(hex(id)) AS id, state, cause,"
    "  (SELECT max(number) FROM attempt a WHERE a.job = job.nr) AS attempt,"
    "  (SELECT max(round) FROM snapshot s WHERE s.job = job.nr AND s.state = 'retained'"
    "    AND s.imported = 0) AS "
    "newest_snapshot,"
    "  datetime(created_wall / 1000000, 'unixepoch') AS created FROM job;"
    "CREATE VIEW snapshots AS SELECT s.round AS snapshot, name AS job, kind, style, unaligned, "
    "commits, imported, s.state, owner, attempt,"
    "  datetime(completed_wall / 1000000, 'unixepoch') AS completed, tasks, artifacts, bytes, "
    "manifest_bytes,"
    "  (SELECT parent FROM lineage l WHERE l.snapshot = s.round) AS parent,"
    "  (SELECT count(*) FROM owed o WHERE o.round = s.round) AS owed, label, directory"
    "  FROM snapshot s JOIN job ON nr = s.job;",
};

int tide_schema_version(void)
{
    return (int)(sizeof migrations / sizeof *migrations);
}

/* Tables that others refer to are made anew, so whether all references hold is asked at the end. */
static int references_hold(sqlite3 *db)
{
    int64_t broken = 0;
    int rc = tide_db_pragma(db, "SELECT count(*) FROM pragma_foreign_key_check", &broken);
    return rc ? rc : broken ? SQLITE_CORRUPT : SQLITE_OK;
}

static int migrate(sqlite3 *db, int from)
{
    char number[64];
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    for (int i = from; !rc && i < tide_schema_version(); i++)
        rc = sqlite3_exec(db, migrations[i], NULL, NULL, NULL);
    if (!rc && from) rc = references_hold(db);
    if (!rc) {
        sqlite3_snprintf(sizeof number, number, "PRAGMA application_id = %d", TIDE_DB_APPLICATION);
        rc = sqlite3_exec(db, number, NULL, NULL, NULL);
    }
    if (!rc) {
        sqlite3_snprintf(sizeof number, number, "PRAGMA user_version = %d", tide_schema_version());
        rc = sqlite3_exec(db, number, NULL, NULL, NULL);
    }
    if (!rc) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc && !sqlite3_get_autocommit(db)) sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int tide_schema_migrate(sqlite3 *db, int from)
{
    if (from == tide_schema_version()) return SQLITE_OK;
    /* Otherwise a table could not be dropped that others refer to; not possible in a transaction.
     */
    int rc = sqlite3_exec(db, "PRAGMA foreign_keys = OFF", NULL, NULL, NULL);
    if (!rc) rc = migrate(db, from);
    int on = sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL);
    return rc ? rc : on;
}
