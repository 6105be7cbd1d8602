package nsexec

// root are the ids to which belongs what a container is made with: PID 1, user namespaces, what is on disk.
var root struct{ uid, gid uintptr }

// SetRoot makes ids other than 0 those of root. A program in a user namespace that maps a single id has no other to
// be root with. It is called before anything else of this package.
func SetRoot(uid, gid int) { root.uid, root.gid = uintptr(uid), uintptr(gid) }

// ActOnFilesAsRoot is ActOnFilesAs with root's ids.
func ActOnFilesAsRoot(effective uint64) error {
	return ActOnFilesAs(int(root.uid), int(root.gid), effective)
}
