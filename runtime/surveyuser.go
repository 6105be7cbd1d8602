package runtime

import (
	"errors"
	"fmt"
	"strconv"

	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// findUser finds who the command runs as. A caller has the groups that the kernel
// says; a user whom root chose, those of the database.
func (f *Facts) findUser(r Request, database *user.Database) error {
	var err error
	listed := false
	switch {
	case r.User == "":
		f.User, listed, err = database.ByID(f.Caller.UID)
		if errors.Is(err, passwd.ErrUnknown) { // a bare number, as in some CI systems
			f.User, err = nameless(f.Caller), nil
		}
	default:
		f.User, listed, err = byNameOrNumber(database, r.User)
	}
	if err != nil {
		return err
	}
	f.Groups = f.Caller.Groups
	if f.User.UID == f.Caller.UID {
		f.User.GID = f.Caller.GID
	} else if f.Groups, err = database.Groups(f.User); err != nil {
		return err
	}
	if !listed {
		f.Passwd = string(passwd.Append(database.Passwd, f.User.Line))
	}
	lines, err := database.MissingGroups(append([]uint32{f.User.GID}, f.Groups...))
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		f.Group = string(passwd.Append(database.Group, lines...))
	}
	return nil
}

func byNameOrNumber(database *user.Database, who string) (passwd.Entry, bool, error) {
	entry, listed, err := database.ByName(who)
	if errors.Is(err, passwd.ErrUnknown) {
		// 4294967295 is (uid_t)-1, "no change" to setresuid(2): never a user.
		if number, bad := strconv.ParseUint(who, 10, 32); bad == nil && number != 1<<32-1 {
			return database.ByID(uint32(number))
		}
	}
	return entry, listed, err
}

// nameless describes a caller who has a number and no name.
func nameless(c Caller) passwd.Entry {
	name := "user" + strconv.FormatUint(uint64(c.UID), 10)
	line := fmt.Sprintf("%s:x:%d:%d::/:/bin/sh", name, c.UID, c.GID)
	return passwd.Entry{Name: name, UID: c.UID, GID: c.GID, Home: "/", Shell: plainShell, Line: line}
}
