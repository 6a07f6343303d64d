/* What the daemon needs of the system before it can work: descriptors, directories, memory. */
#ifndef MEANS_H
#define MEANS_H

#include "daemon/config.h"

/* As many descriptors as the system allows; a warning when [limits] connections is above that. */
void means_raise_descriptors(const struct config *c);
/* 0, or TIDE_EIO when they do not even do for a start. */
int means_enough_descriptors(char why[static CONFIG_WHY]);

/* Makes the directory that the key of [daemon] names, unless it is there. 0 or TIDE_EIO. */
int means_directory(const char *path, const char *key, char why[static CONFIG_WHY]);

/* What a round collects is freed when it is stored, and wanted again by the next one: memory that
 * goes back to the system in between costs a page fault for every 4 KiB, more than the acks in it.
 * So the allocator keeps it, until it is told to give it back. */
void means_keep_memory(void);
void means_give_memory_back(void);
uint64_t means_resident_bytes(void); /* 0: not known */

#endif
