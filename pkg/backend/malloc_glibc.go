//go:build cgo && linux

package backend

/*
#include <limits.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

// keep_memory makes free keep what it gets for the next malloc.
static void keep_memory(void) {
#ifdef __GLIBC__
	if (!getenv("GLIBC_TUNABLES")) {
		mallopt(M_MMAP_THRESHOLD, 1 << 30);
		mallopt(M_TRIM_THRESHOLD, INT_MAX);
	}
#endif
}

static void trim(void) {
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
*/
import "C"

// The products of XLA's CPU plugin take their scratch space, megabytes, from malloc and free it at their end. glibc's gives such
// space back to the system and gets it again page by page, all of them to be cleared: 6% of a step of Figure 2 at full size on an idle
// machine, and up to a third on a busy one. GLIBC_TUNABLES, where it is set, stands.
func init() { C.keep_memory() }

// Trim gives memory that the C side has freed back to the system: what compiling took, which is hundreds of megabytes.
func Trim() { C.trim() }
