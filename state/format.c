/* The tables. A reader takes a database for one of this format if it has exactly these, so a change
 * of a letter is a new version. */
#include "state/format.h"

/* clang-format off */
const struct tide_format_object tide_format_objects[TIDE_FORMAT_OBJECTS] = {
    {"task",
     "CREATE TABLE task (\n"
     "  operator TEXT NOT NULL,            -- its uid\n"
     "  subtask INTEGER NOT NULL,\n"
     "  parallelism INTEGER NOT NULL,\n"
     "  max_parallelism INTEGER NOT NULL,\n"
     "  hash TEXT NOT NULL,                -- from keys to key groups\n"
     "  first_key_group INTEGER NOT NULL,\n"
     "  key_groups INTEGER NOT NULL,       -- 0: there are no keyed states in here\n"
     "  databases INTEGER NOT NULL,        -- that it has: 1 keyed, 2 the other states, 3 both\n"
     "  round INTEGER NOT NULL,\n"
     "  writer TEXT NOT NULL               -- the version of the library\n"
     ") STRICT"},
    {"state",
     "CREATE TABLE state (\n"
     "  id INTEGER PRIMARY KEY,\n"
     "  name TEXT NOT NULL,\n"
     "  kind TEXT NOT NULL,                -- value, list, map; split, union, broadcast\n"
     "  schema TEXT,\n"
     "  version INTEGER NOT NULL,          -- of the schema\n"
     "  first INTEGER NOT NULL,            -- the first of its rows in entry\n"
     "  rows INTEGER NOT NULL,             -- how many follow each other there\n"
     "  message TEXT,                      -- of protobuf values: their type\n"
     "  descriptor BLOB                    -- and the FileDescriptorSet that has it\n"
     ") STRICT"},
    {"key_group",
     "CREATE TABLE key_group (\n"
     "  state INTEGER NOT NULL,\n"
     "  key_group INTEGER NOT NULL,\n"
     "  first INTEGER NOT NULL,\n"
     "  rows INTEGER NOT NULL,\n"
     "  PRIMARY KEY (state, key_group)\n"
     ") STRICT, WITHOUT ROWID"},
    {"entry",
     "CREATE TABLE entry (\n"
     "  id INTEGER PRIMARY KEY,            -- lists are in this order\n"
     "  state INTEGER NOT NULL,\n"
     "  key_group INTEGER,                 -- NULL: not keyed\n"
     "  key BLOB,\n"
     "  item BLOB,                         -- of a map or broadcast state\n"
     "  value BLOB NOT NULL\n"
     ") STRICT"},
    {"flow",
     "CREATE TABLE flow (\n"
     "  id INTEGER PRIMARY KEY,\n"
     "  name TEXT NOT NULL,\n"
     "  direction TEXT NOT NULL,           -- input, output\n"
     "  peer TEXT,                         -- the operator at its other end\n"
     "  route TEXT NOT NULL,               -- keyed, split, broadcast\n"
     "  first_channel INTEGER NOT NULL,    -- of the task, as the program numbers them\n"
     "  channels INTEGER NOT NULL,\n"
     "  max_parallelism INTEGER NOT NULL,  -- that keys are cut by; 0: it is not keyed\n"
     "  schema TEXT,\n"
     "  version INTEGER NOT NULL,          -- of the schema\n"
     "  first INTEGER NOT NULL,            -- the first of its records in in_flight\n"
     "  records INTEGER NOT NULL,          -- how many follow each other there\n"
     "  message TEXT,\n"
     "  descriptor BLOB\n"
     ") STRICT"},
    {"in_flight",
     "CREATE TABLE in_flight (\n"
     "  id INTEGER PRIMARY KEY,            -- those of a channel are in this order\n"
     "  flow INTEGER NOT NULL,\n"
     "  channel INTEGER NOT NULL,\n"
     "  key_group INTEGER,                 -- NULL: its flow is not keyed\n"
     "  key BLOB,\n"
     "  record BLOB NOT NULL\n"
     ") STRICT"},
    {"entries",
     "CREATE VIEW entries AS\n"
     "  SELECT entry.id, name AS state, kind, key_group, key, item, value\n"
     "  FROM entry JOIN state ON state.id = entry.state"},
};
/* clang-format on */

int tide_format_code(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return 0;
    case SQLITE_NOMEM: return TIDE_ENOMEM;
    case SQLITE_FULL: return TIDE_ENOSPC;
    case SQLITE_TOOBIG: return TIDE_ETOOBIG;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: return TIDE_ECORRUPT;
    default: return rc == SQLITE_IOERR_NOMEM ? TIDE_ENOMEM : TIDE_EIO;
    }
}
