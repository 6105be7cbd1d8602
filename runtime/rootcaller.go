package runtime

import "github.com/opencontainers/runtime-spec/specs-go"

// changedPlaces are the same ids on the host, with root and the caller in each other's
// place: what root makes is the caller's. It gives root inside no file that idMappings
// does not: the ids that are mapped are the same.
func changedPlaces(own, first uint32) []specs.LinuxIDMapping {
	var list []specs.LinuxIDMapping
	for _, m := range idMappings(own, first) {
		switch {
		case m.ContainerID == own && m.HostID == own:
			m.HostID = first
		case m.ContainerID == 0:
			list = append(list, specs.LinuxIDMapping{ContainerID: 0, HostID: own, Size: 1})
			m = specs.LinuxIDMapping{ContainerID: 1, HostID: first + 1, Size: m.Size - 1}
		}
		if m.Size > 0 {
			list = append(list, m)
		}
	}
	return list
}
