package survey

import (
	"errors"

	"mayfly/runtime/plan"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// findUser finds the user that the command runs as. A caller has the groups that the
// kernel tells; a user whom root has named has those of the database.
func (f *finder) findUser(r plan.Request, database *user.Database) error {
	var err error
	listed := false
	switch {
	case r.User == "":
		f.User, listed, err = database.ByID(f.Caller.UID)
		if errors.Is(err, passwd.ErrUnknown) { // no name, as in some CI systems
			f.User, err = passwd.Nameless(f.Caller.UID, f.Caller.GID), nil
		}
	default:
		f.User, listed, err = database.ByNameOrNumber(r.User)
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
