package image

// Open opens what a launch runs in: a draft, or a session of the user's, or an image's
// version by NAME or NAME@VERSION. The thread must be allowed to open the store. The
// caller must Close it.
func (s *Store) Open(name, draft, session string, user uint32) (*Image, error) {
	switch {
	case draft != "":
		return s.OpenDraft(draft)
	case session != "":
		return s.Session(user, session)
	}
	return s.Image(name)
}
