/* The bytes of snapshots in local directories: what the daemon does to them. Blocking; called on
 * file lanes. Every function returns 0 or a negative code, and a sentence that names the path in
 * why. Only names that the naming scheme knows are ever removed: t<digits>-<digits>[.part],
 * s<digits>-<digits> (shared artifacts),
 * _metadata, _metadata.pending, r<digits>, savepoint-<6 hex digits>-<digits>-<digits>,
 * a<digits>-<digits>. Paths are absolute. */
#ifndef TIDE_FILES_H
#define TIDE_FILES_H

#include "proto/admin.pb-c.h"
#include "proto/bytes.h"

#define TIDE_METADATA "_metadata"
#define TIDE_METADATA_PENDING "_metadata.pending"

/* Makes the directory and those above it that are missing; syncs each one made and its parent. The
 * last one must not exist yet: TIDE_EEXIST. */
int tide_files_mkdir(const char *path, char why[static 256]);
/* Writes and syncs `_metadata.pending`, which must not exist. */
int tide_files_metadata_write(const char *directory, struct tide_bytes image, char why[static 256]);
/* Renames it to `_metadata` and syncs the directory. Fine if that was done before. Never over a
 * `_metadata` that is there: TIDE_EEXIST. */
int tide_files_metadata_publish(const char *directory, char why[static 256]);
/* Reads `_metadata`, whole; ret's maximum bounds it (a zeroed ret: 16 GiB). */
int tide_files_metadata_read(const char *directory, struct tide_buf *ret, char why[static 256]);
/* Reads `_metadata`, whole, and looks whether it is that of a snapshot that can be restored: it
 * opens as a manifest, and every file that it names is there with its size (the digests of their
 * bytes are left to a verification). TIDE_ENOTFOUND, TIDE_ECORRUPT, TIDE_EVERSION, TIDE_EIO: why
 * names the file. `stop` is polled: true ends it with TIDE_ECLOSED. */
int tide_files_inspect(const char *directory, const volatile int *stop, struct tide_buf *ret,
                       char why[static 256]);
/* The same, of a manifest that is known. */
int tide_files_whole(const char *directory, struct tide_bytes image, const volatile int *stop,
                     char why[static 256]);
/* The same of `_metadata.pending`. */
int tide_files_pending_read(const char *directory, struct tide_buf *ret, char why[static 256]);
/* Exports: first, in a directory that is there and the export's alone, `_metadata.pending` with
 * this image, but for that nothing in it is shared; fine if the export was done before. */
int tide_files_export_begin(const char *directory, struct tide_bytes image, char why[static 256]);
/* Then all files that it names, out of directory `from`: linked, or copied; synced. TIDE_EAGAIN:
 * `for_us` is over, *place tells how far it is, and the next call goes on there. `stop` is polled:
 * true ends it with TIDE_ECLOSED. tide_files_metadata_publish() makes it a snapshot. */
struct tide_export_place { /* zeroed: the beginning */
    uint64_t artifact;     /* those before it are there */
    uint64_t offset;       /* bytes of it that are copied */
    uint64_t bytes;        /* linked or copied, in all */
};
int tide_files_export(const char *from, const char *to, uint64_t for_us, const volatile int *stop,
                      struct tide_export_place *place, char why[static 256]);
/* What such a directory holds goes, and it itself, unless it has become a snapshot: TIDE_EEXIST. */
int tide_files_export_drop(const char *directory, char why[static 256]);
/* Removes a round's directory with what it holds, `_metadata` first and synced. Missing is fine.
 * What the scheme does not know stays, and is TIDE_EEXIST with its name. */
int tide_files_delete_round(const char *directory, char why[static 256]);
/* The same but for shared artifacts, which stay, and the directory with them. */
int tide_files_delete_own(const char *directory, char why[static 256]);
/* Removes a shared artifact, and the round's directory that it lies in once that is empty. Missing
 * is fine. */
int tide_files_delete_shared(const char *path, char why[static 256]);
/* Removes an attempt's directory if it is empty; fine if it is missing or not empty. */
int tide_files_delete_attempt(const char *directory, char why[static 256]);
/* Reads every artifact of the manifest below directory and compares size and digest, and in that of
 * a savepoint `_metadata` with the image: a problem of task 0 with that path. `stop` is
 * polled: true ends it with TIDE_ECLOSED. *ret is malloc'ed by protobuf-c. */
int tide_files_verify(const char *directory, struct tide_bytes image, const volatile int *stop,
                      Tide__VerifyResult **ret, char why[static 256]);

#endif
