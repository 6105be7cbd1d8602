package access

import (
	"fmt"
	"strconv"
	"strings"

	"mayfly/runtime/caller"
	"mayfly/runtime/user"
)

// OwnerOf splits [OWNER/]NAME. Only root may name another owner than themself: the
// error wraps caller.ErrNotPermitted otherwise. Without OWNER it is the caller.
func OwnerOf(database *user.Database, c caller.Caller, text string) (uid uint32, name string, err error) {
	owner, name, ok := strings.Cut(text, "/")
	if !ok {
		return c.UID, text, nil
	}
	entry, _, err := database.ByNameOrNumber(owner)
	if err != nil {
		return 0, "", fmt.Errorf("owner %s: %w", owner, err)
	}
	if c.UID != 0 && c.UID != entry.UID {
		return 0, "", fmt.Errorf("what belongs to %s: %w", owner, caller.ErrNotPermitted)
	}
	return entry.UID, name, nil
}

// OwnerName returns a user's name, or the number of a user without a name.
func OwnerName(database *user.Database, uid uint32) string {
	if entry, listed, err := database.ByID(uid); err == nil && listed {
		return entry.Name
	}
	return strconv.FormatUint(uint64(uid), 10)
}
