package survey

import (
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// wantsTerm returns the TERM whose description is to be looked for in the image; "":
// none. None is looked for if the request sets TERM, or if variables or the caller's
// home describe it.
func (f *finder) wantsTerm(r plan.Request, env []string) string {
	term, home := plan.Value(env, "TERM"), plan.Value(env, "HOME")
	switch {
	case !plan.IsTerm(term), plan.AsksFor(r.Env, "TERM"), plan.Value(env, "TERMINFO") != "", plan.Value(env, "TERMINFO_DIRS") != "":
		return ""
	case slices.ContainsFunc(plan.TerminfoDirs, func(dir string) bool { return f.Covers(r, dir) }):
		return ""
	case f.Covers(r, home) && plan.OwnTerm(home, term, file.IsThere):
		return ""
	}
	return term
}

// findTerm replaces a terminal that the image does not know by one that it knows.
func (f *finder) findTerm(inside mount.Root) {
	if f.Term == "" {
		return
	}
	f.Term = plan.FallbackTerm(f.Term, func(name string) bool {
		fd, err := inside.Open(name, unix.O_PATH)
		if err == nil {
			unix.Close(fd)
		}
		return err == nil
	})
}
